import io
from pathlib import Path

import pytest
from rich.console import Console

from service.client import SdcnClient, demo
from service.client.demo import verdicts
from service.jobs.specs import AblationSpec
from service.jobs.states import FailureReason
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.studies import leave
from tests.service.api.test_jobs import start
from tests.service.client.test_study_commands import results


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


def test_the_demo_shows_table_pictures_and_addresses(
    client: SdcnClient, jobs: JobQueue, tmp_path: Path, said: Console
) -> None:
    job = client.submit(AblationSpec(study="oicr-against-sdcn", preset="tiny"))
    jobs.settle(start(jobs), Settlement.succeeded(results().model_dump(mode="json")))
    leave(tmp_path / "runs" / job.id, comparison_jpg=b"", report_html=b"")
    assert demo._tell(client.get(job.id), client, tmp_path, said) == 0
    text = said.file.getvalue()  # type: ignore[attr-defined]
    assert f"{tmp_path}/runs/{job.id}/artifacts/comparison.jpg" in text
    assert f"http://localhost/jobs/{job.id}" in text
    assert f"http://localhost/v1/jobs/{job.id}/artifacts/report.html" in text


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
