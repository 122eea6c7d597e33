"""A disk that is really full: a small file system in memory, which only root may mount."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import torch

from sdcn_core.config.data import VocSource
from sdcn_core.training.checkpoint import Checkpoint, save_checkpoint
from service.app import create_app
from service.jobs.specs import CheckDataSpec, TrainSpec
from service.jobs.states import FailureReason, JobState
from service.queue.database import open_database
from service.queue.migrations import upgrade
from service.queue.records import Job
from service.queue.repository import JobQueue
from service.queue.retry import RetryPolicy
from service.settings import ServiceSettings
from tests.service.in_process import serving
from tests.workers.conftest import scripted_worker
from workers.attempt_folder import OUTCOME_UNWRITTEN, AttemptFolder, AttemptOrder, RayOrder
from workers.failures import failure_of
from workers.settings import WorkerSettings
from workers.spool import EventSpool, NoteEvent, SpoolReader

SIZE = "4m"
ROOM = 64 * 1024


class SmallDisk:
    """A file system of a few megabytes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self, *, leave: int = 0) -> None:
        """Take all room but so many bytes."""
        with (self.path / "filling").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(b"\0" * 4096)
        with (self.path / "filling").open("r+b") as file:
            file.truncate((self.path / "filling").stat().st_size - leave)

    def free(self) -> None:
        (self.path / "filling").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    path = tmp_path / "small"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(path)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("a small file system cannot be mounted here: only root may")
    yield SmallDisk(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    """On a disk with room."""
    url = f"sqlite:///{tmp_path / 'queue.db'}"
    upgrade(url)
    engine = open_database(url)
    yield JobQueue(engine, retry=RetryPolicy(base_s=0))
    engine.dispose()


@pytest.fixture
def job(queue: JobQueue) -> Job:
    return queue.enqueue(TrainSpec(preset="tiny").resolve(), idempotency_key=None, body_digest="")[0]


@pytest.fixture
def settings(disk: SmallDisk) -> WorkerSettings:
    return WorkerSettings(home=disk.path, min_free_bytes=ROOM, heartbeat_interval_s=0.05, lease_s=20)


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before_and_says_why(disk: SmallDisk) -> None:
    checkpoint = Checkpoint("digest", ["cat"], 5, 0, {"f_e": {"weight": torch.zeros(100_000)}}, {}, None)
    save_checkpoint(checkpoint, disk.path)
    before = (disk.path / "checkpoint.pt").read_bytes()
    disk.fill(leave=100_000)
    with pytest.raises(Exception) as caught:
        save_checkpoint(checkpoint, disk.path)
    failure = failure_of(caught.value)
    assert failure.reason is FailureReason.INFRASTRUCTURE
    assert "disk is full" in failure.message
    assert (disk.path / "checkpoint.pt").read_bytes() == before


def test_an_attempt_whose_disk_is_full_is_tried_again_and_the_job_succeeds(
    disk: SmallDisk, queue: JobQueue, job: Job, settings: WorkerSettings
) -> None:
    child = f"""
try:
    with (folder / "checkpoint").open("wb") as file:
        file.write(b"0" * {3 * 2**19})
    end(status="succeeded", results={{}})
except OSError:
    sys.exit({OUTCOME_UNWRITTEN})
"""
    disk.fill(leave=2**20)
    worker = scripted_worker(queue, settings, child)
    assert worker.run_once()
    waiting = queue.get(job.job_id)
    assert waiting.state is JobState.RETRY_WAIT
    assert waiting.attempts[0].exit_reason is FailureReason.INFRASTRUCTURE
    assert "disk is full" in str(waiting.attempts[0].message)
    disk.free()
    assert worker.run_once()
    assert queue.get(job.job_id).state is JobState.SUCCEEDED


def test_a_worker_whose_disk_is_full_claims_nothing_until_there_is_room(
    disk: SmallDisk, queue: JobQueue, job: Job, settings: WorkerSettings
) -> None:
    worker = scripted_worker(queue, settings, 'end(status="succeeded", results={})')
    disk.fill()
    assert not worker.run_once()
    assert queue.get(job.job_id).attempt == 0
    disk.free()
    assert worker.run_once()
    assert queue.get(job.job_id).state is JobState.SUCCEEDED


def test_a_child_that_cannot_write_its_outcome_says_so_by_its_exit_status(disk: SmallDisk) -> None:
    folder = AttemptFolder(disk.path / "runs" / "0a" / "attempt-1")
    folder.path.mkdir(parents=True)
    order = AttemptOrder(
        job_id="0a",
        attempt=1,
        spec=CheckDataSpec(name="animals", source=VocSource(path="animals")).resolve(),
        home=disk.path,
        data_root=disk.path,
        weights_root=disk.path,
        scratch=disk.path,
        ray=RayOrder(address="local", auth_mode="token", start_timeout_s=60, num_cpus=1, checkpoints_to_keep=2),
    )
    folder.write_order(order)
    disk.fill()
    child = [sys.executable, "-m", "workers.attempt", str(folder.path), str(os.getpid())]
    done = subprocess.run(child, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == OUTCOME_UNWRITTEN, done.stderr
    assert folder.read_outcome() is None


def test_an_event_that_was_cut_off_on_a_full_disk_can_be_written_again_whole(disk: SmallDisk) -> None:
    spool = EventSpool(disk.path / "events.jsonl")
    spool.append(NoteEvent(text="first"))
    disk.fill()
    event = NoteEvent(text="x" * 100_000)
    with pytest.raises(OSError, match="No space"):
        spool.append(event)
    disk.free()
    spool.append(event)
    assert [said.text for said in SpoolReader(disk.path / "events.jsonl").read()] == ["first", event.text]


def test_a_submit_that_finds_no_room_is_refused_whole_and_taken_in_later(disk: SmallDisk) -> None:
    app = create_app(ServiceSettings(home=disk.path, min_free_bytes=ROOM))
    with serving(app) as transport, httpx.Client(transport=transport, base_url="http://localhost") as api:
        first = api.post("/v1/jobs", json={"preset": "tiny"})
        assert first.status_code == 202
        disk.fill()
        refused = [api.post("/v1/jobs", json={"preset": "tiny"}, headers={"Idempotency-Key": "k"}) for _ in range(3)]
        full = next(answer for answer in reversed(refused) if answer.status_code != 202)
        assert (full.status_code, full.headers["Retry-After"]) == (503, "5")
        assert "disk is full" in full.json()["detail"]
        ready = api.get("/readyz")
        assert ready.status_code == 503
        assert "disk" in [error["field"] for error in ready.json()["errors"]]
        assert api.get("/v1/jobs").json()["jobs"][-1]["id"] == first.json()["id"]
        disk.free()
        taken = api.post("/v1/jobs", json={"preset": "tiny"}, headers={"Idempotency-Key": "k"})
        assert taken.status_code == 202
        assert len(api.get("/v1/jobs").json()["jobs"]) == 2
        assert api.get("/readyz").status_code == 200


def test_a_worker_that_cannot_prepare_an_attempt_for_want_of_room_says_so(
    disk: SmallDisk, queue: JobQueue, job: Job, settings: WorkerSettings
) -> None:
    worker = scripted_worker(queue, settings.model_copy(update={"min_free_bytes": 0}), "")
    disk.fill()
    worker.run_once()
    ended = queue.get(job.job_id)
    assert ended.state is JobState.RETRY_WAIT
    assert "disk is full" in str(ended.attempts[0].message)
