"""The pages on failures: one for each reason, and whoever types what they say is understood."""

import re
import shlex
from pathlib import Path

import httpx
import pytest

from service.client import SdcnClient
from service.jobs.data_specs import DatasetSpec
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from service.run_files.checkpoints import checkpoint_name
from tests.service.client.conftest import URL
from tests.service.client.test_cli import Sdcn, sdcn
from tests.service.in_process import InProcess

__all__ = ["sdcn"]

PAGES = Path(__file__).parents[3] / "docs" / "failures"


def page_of(reason: FailureReason) -> Path:
    return PAGES / f"{reason.replace('_', '-')}.md"


def commands_of(page: Path) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(), flags=re.DOTALL)
    return [line.split(" #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def ended_by(reason: FailureReason, client: SdcnClient, jobs: JobQueue) -> tuple[str, str]:
    """A job at the paper's size that ended for this reason, and the one that it waited for, if it did."""
    spec = TrainSpec(preset="voc2007_vgg16")
    first = client.submit(spec).id
    job_id = first
    if reason is FailureReason.DEPENDENCY:
        job_id = client.submit(spec.model_copy(update={"after": (first,)})).id
    claim = jobs.claim("worker-1", lease_s=60)
    assert claim is not None
    jobs.start(claim, pid=1)
    if reason is FailureReason.USER:
        client.cancel(job_id)
        jobs.settle(claim, Settlement.cancelled())
    else:
        jobs.settle(claim, Settlement.failed(FailureReason.CRASHED if job_id != first else reason, "a message"))
    return job_id, first


def test_each_reason_has_a_page() -> None:
    assert sorted(PAGES.iterdir()) == sorted(map(page_of, FailureReason))


@pytest.mark.parametrize("reason", FailureReason)
def test_what_a_page_says_can_be_typed(
    reason: FailureReason, sdcn: Sdcn, client: SdcnClient, jobs: JobQueue, transport: InProcess, tmp_path: Path
) -> None:
    page = page_of(reason)
    job_id, other = ended_by(reason, client, jobs)
    (tmp_path / "runs" / job_id / checkpoint_name(8)).mkdir(parents=True)
    (tmp_path / "runs" / job_id / "attempt-1").mkdir()
    (tmp_path / "runs" / job_id / "attempt-1" / "log.txt").write_text("the last words\n")
    client.add_dataset(DatasetSpec.model_validate({"name": "animals", "source": {"kind": "voc", "path": "animals"}}))

    shown = " ".join(sdcn("show", job_id).stdout.split())
    assert f"{reason}:" in shown
    assert client.get(job_id).failure.way_out in shown  # type: ignore[union-attr]
    commands = commands_of(page)
    assert commands
    for command in commands:
        if command.startswith("curl -s localhost:8000"):
            with httpx.Client(transport=transport, base_url=URL) as web:
                assert web.get(command.removeprefix("curl -s localhost:8000")).status_code in (200, 503)
            continue
        name, *words = shlex.split(command.replace("JOB", job_id).replace("OTHER", other))
        assert name == "sdcn"
        done = sdcn(*(word for word in words if word != "--watch"))  # nobody works here
        assert done.exit_code == 0, f"{command}: {done.output}"
