"""`sdcn status`, `sdcn history`, `sdcn metrics`, and what Tab offers."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from service.api.readiness import Readiness
from service.client import SdcnClient, cli, completion
from service.client.state_commands import BLOCKS, CURVE_WIDTH, curve
from service.jobs.answers import Series
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from tests.service.api.test_jobs import start
from tests.service.client.test_cli import Sdcn, sdcn
from tests.service.run_files.spools import append, metrics
from tests.service.server import listening

__all__ = ["sdcn"]

TINY = TrainSpec(preset="tiny")


@pytest.fixture
def job_id(client: SdcnClient) -> str:
    return client.submit(TINY).id


def test_the_state_of_the_service_is_told_by_its_parts(sdcn: Sdcn, job_id: str) -> None:
    lines = [line.split() for line in sdcn("status").stdout.splitlines()]
    assert ["database", "up"] in lines
    assert ["ray", "unused"] in lines
    assert "jobs: 1 queued" in sdcn("status").stdout


def test_a_service_that_takes_no_jobs_says_what_is_down(
    sdcn: Sdcn, app: FastAPI, jobs: JobQueue, tmp_path: Path
) -> None:
    app.state.readiness = Readiness(ServiceSettings(home=tmp_path, min_free_bytes=2**60), jobs)
    done = sdcn("status")
    assert (done.exit_code, "disk is down: " in done.output) == (3, True)


def test_the_history_of_a_job_says_who_moved_it_and_why(sdcn: Sdcn, jobs: JobQueue, job_id: str) -> None:
    jobs.settle(start(jobs), Settlement.failed(FailureReason.DIVERGED, "loss mil is nan"))
    told = [" ".join(line.split()) for line in sdcn("history", job_id).stdout.splitlines()]
    assert told[1].endswith("0 queued api")
    assert told[-1].endswith("1 running → failed worker-1 loss mil is nan")


def test_metrics_are_shown_as_curves_and_point_by_point(sdcn: Sdcn, job_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / job_id
    append(folder, 1, *(metrics(step, **{"loss/mil": 1 / step}) for step in (1, 2, 4)))
    (row,) = [line.split() for line in sdcn("metrics", job_id).stdout.splitlines() if "loss/mil" in line]
    assert row == ["loss/mil", "3", "1", "0.25", "1", "0.25", "█▃▁"]
    assert sdcn("metrics", job_id, "--csv").stdout.splitlines()[1:] == [
        "loss/mil,1,1.0",
        "loss/mil,2,0.5",
        "loss/mil,4,0.25",
    ]


def test_a_long_curve_is_as_wide_as_a_short_one_and_a_flat_one_is_flat() -> None:
    rising = Series(steps=tuple(range(1000)), values=tuple(map(float, range(1000))))
    assert len(curve(rising)) == CURVE_WIDTH
    assert (curve(rising)[0], curve(rising)[-1]) == (BLOCKS[0], BLOCKS[-1])
    assert curve(Series(steps=(1, 2), values=(3.0, 3.0))) == BLOCKS[0] * 2


def offered(*words: str) -> list[str]:
    """What Tab offers in bash behind these words, the last of which is begun."""
    environment = {"_SDCN_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    return CliRunner().invoke(cli.app, [], prog_name="sdcn", env=environment).stdout.split()


def test_tab_offers_experiments_studies_and_commands() -> None:
    assert offered("sdcn", "submit", "voc2007_o") == ["voc2007_oicr"]
    assert offered("sdcn", "submit", "table-")[0] == "table-1"
    assert "history" in offered("sdcn", "hi")


def test_tab_offers_the_newest_jobs_and_nothing_where_no_service_answers(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion, "PATIENCE_S", 20)
    with listening(app) as url, SdcnClient(url) as client:
        monkeypatch.setenv("SDCN_URL", url)
        job = client.submit(TINY)
        assert offered("sdcn", "watch", job.id[:2]) == [job.id]
    assert offered("sdcn", "watch", job.id[:2]) == []
    monkeypatch.setenv("SDCN_URL", "no address")
    assert offered("sdcn", "watch", job.id[:2]) == []
