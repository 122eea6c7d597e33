import io
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest
from rich.console import Console
from typer.testing import CliRunner

from service.client import SdcnClient, cli, demo
from service.client.demo import verdicts
from service.embedded.errors import EmbeddedError
from service.jobs.specs import AblationSpec
from service.jobs.states import FailureReason
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.studies import leave
from tests.service.api.test_jobs import start
from tests.service.client.test_study_commands import results
from tests.service.embedded.test_keeper import record
from tests.service.in_process import InProcess

Show = Callable[[Callable[[float], None]], tuple[int, str]]


@pytest.fixture
def said() -> Console:
    return Console(file=io.StringIO(), width=200, markup=False)


def test_a_row_that_is_ahead_is_told_with_its_points() -> None:
    ((sentence, style),) = verdicts(results(sdcn_ap=0.75))
    assert "SDCN did NOT beat OICR in everything here: +25.0 points of mean AP, +0.0 points of mean CorLoc" in sentence
    assert "one seed settles nothing" in sentence
    assert style == "yellow"


def test_a_row_that_is_behind_is_told_too() -> None:
    ((sentence, _),) = verdicts(results(sdcn_ap=0.25))
    assert "NOT" in sentence
    assert "-25.0 points of mean AP" in sentence


class Embedded:
    """In the place of the embedded service: the API is in this process, and `wait` is the work that is done."""

    def __init__(self, wait: Callable[[float], None]) -> None:
        self.record = record("http://127.0.0.1:8123", mlflow_url="http://mlflow.test")
        self.wait = wait

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def show(transport: InProcess, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: Console) -> Show:
    """The demo with this work done in it: its exit code, and what it said."""
    monkeypatch.setattr(demo, "SdcnClient", lambda _url: SdcnClient("http://localhost", transport=transport))

    def run(wait: Callable[[float], None]) -> tuple[int, str]:
        monkeypatch.setattr(demo, "EmbeddedService", lambda *_, **__: Embedded(wait))
        code = demo.run_demo(tmp_path, AblationSpec(study="oicr-against-sdcn", preset="tiny"), said)
        return code, said.file.getvalue()  # type: ignore[attr-defined]

    return run


@pytest.mark.parametrize("at_home", [True, False])
def test_the_demo_ends_with_files_to_open_and_with_the_way_back_to_its_pages(
    show: Show, jobs: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_home: bool
) -> None:
    def work(_timeout_s: float) -> None:
        claim = start(jobs)
        jobs.attach_tracking(claim.job_id, "run1")
        leave(tmp_path / "runs" / claim.job_id, comparison_jpg=b"", report_html=b"")
        jobs.settle(claim, Settlement.succeeded(results().model_dump(mode="json")))

    if at_home:
        monkeypatch.setenv("SDCN_HOME", str(tmp_path))
    code, text = show(work)
    before, _, after = text.partition("the service is stopped")
    job_id = next(tmp_path.glob("runs/*")).name
    assert code == 0
    assert f"{tmp_path}/runs/{job_id}/artifacts/comparison.jpg" in before
    assert f"{tmp_path}/runs/{job_id}/artifacts/report.html" in before
    assert ("`make up`" in after, f"`sdcn up --home {tmp_path}`" in after) == (at_home, not at_home)
    assert f"http://127.0.0.1:8000/jobs/{job_id}\n" in after
    assert f"http://127.0.0.1:8000/v1/jobs/{job_id}/artifacts/report.html\n" in after
    assert "http://127.0.0.1:5000/#/runs/run1" in after
    assert "8123" not in after


def test_the_demo_ends_when_the_service_is_given_up(show: Show) -> None:
    def given_up(_timeout_s: float) -> None:
        raise EmbeddedError("worker died 6 times in a row")

    code, text = show(given_up)
    assert (code, "worker died 6 times in a row" in text) == (3, True)


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--study", "figure-5", "no ablation is named 'figure-5'"),
        ("--data", "none-such", "no preset is named 'none-such'"),
        ("--data", "x" * 65, "at most 64 characters"),
    ],
)
def test_a_demo_of_nothing_starts_nothing(tmp_path: Path, option: str, value: str, said: str) -> None:
    home = tmp_path / "home"
    done = CliRunner().invoke(cli.app, ["demo", "--home", str(home), option, value], env={"COLUMNS": "200"})
    assert (done.exit_code, said in done.output, home.exists()) == (2, True, False)


def test_a_study_with_a_row_that_is_missing_is_no_success(
    client: SdcnClient, jobs: JobQueue, tmp_path: Path, said: Console
) -> None:
    job = client.submit(AblationSpec(study="oicr-against-sdcn", preset="tiny"))
    whole = results()
    missing = whole.model_copy(update={"rows": (whole.rows[0], whole.rows[1].model_copy(update={"succeeded": 0}))})
    jobs.settle(start(jobs), Settlement.succeeded(missing.model_dump(mode="json")))
    assert demo._tell(client.get(job.id), client, tmp_path, said) == 1


def test_a_study_that_failed_is_no_success(client: SdcnClient, jobs: JobQueue, tmp_path: Path, said: Console) -> None:
    job = client.submit(AblationSpec(study="oicr-against-sdcn", preset="tiny"))
    jobs.settle(start(jobs), Settlement.failed(FailureReason.BAD_INPUT, "no data"))
    assert demo._tell(client.get(job.id), client, tmp_path, said) == 1
    assert "no data" in said.file.getvalue()  # type: ignore[attr-defined]
