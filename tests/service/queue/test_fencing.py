"""A worker that lost its lease writes nothing, whatever it tries and whenever it wakes up."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from service.errors import LeaseLost
from service.jobs.progress import JobProgress
from service.jobs.states import Desired, FailureReason, JobState
from service.queue.records import Claim, Job, Settlement
from service.queue.repository import JobQueue
from tests.service.clock import FakeClock

PROGRESS = JobProgress(
    stage="loop", step=3, stage_steps=9, fraction=0.5, global_step=13, updated_at=datetime(2026, 1, 1, tzinfo=UTC)
)

WRITES: dict[str, Callable[[JobQueue, Claim], object]] = {
    "heartbeat": lambda queue, claim: queue.heartbeat(claim, lease_s=30),
    "start": lambda queue, claim: queue.start(claim, pid=1),
    "running": lambda queue, claim: queue.begin_running(claim),
    "stopping": lambda queue, claim: queue.begin_stopping(claim),
    "progress": lambda queue, claim: queue.record_progress(claim, PROGRESS),
    "resume": lambda queue, claim: queue.record_resume(claim, step=1),
    "succeeded": lambda queue, claim: queue.settle(claim, Settlement.succeeded({})),
    "failed": lambda queue, claim: queue.settle(claim, Settlement.failed(FailureReason.DIVERGED, "nan")),
    "paused": lambda queue, claim: queue.settle(claim, Settlement.paused()),
    "cancelled": lambda queue, claim: queue.settle(claim, Settlement.cancelled()),
    "retry": lambda queue, claim: queue.settle(claim, Settlement.retry(FailureReason.INFRASTRUCTURE, "disk")),
}


def claimed(queue: JobQueue, worker: str = "w") -> Claim:
    claim = queue.claim(worker, lease_s=30)
    assert claim is not None
    return claim


def lose(queue: JobQueue, clock: FakeClock) -> Claim:
    """A claim whose worker slept past its lease, so that the job was taken away."""
    claim = claimed(queue, "sleeper")
    queue.start(claim)
    clock.advance(31)
    assert queue.rescue_lost() == [claim.job_id]
    return claim


@pytest.mark.parametrize("write", WRITES)
def test_after_a_rescue_the_old_worker_writes_nothing(queue: JobQueue, job: Job, clock: FakeClock, write: str) -> None:
    claim = lose(queue, clock)
    before = queue.get(job.job_id)
    with pytest.raises(LeaseLost, match=f"attempt 1 on job {job.job_id}"):
        WRITES[write](queue, claim)
    assert queue.get(job.job_id) == before


@pytest.mark.parametrize("write", WRITES)
def test_while_another_worker_has_it_the_old_one_writes_nothing(
    queue: JobQueue, job: Job, clock: FakeClock, write: str
) -> None:
    old = lose(queue, clock)
    clock.advance(600)
    new = claimed(queue, "heir")
    before = queue.get(job.job_id)
    with pytest.raises(LeaseLost):
        WRITES[write](queue, old)
    assert queue.get(job.job_id) == before
    assert queue.heartbeat(new, lease_s=30).desired is Desired.RUN


@pytest.mark.parametrize("write", WRITES)
def test_after_settling_the_same_worker_writes_nothing_more(queue: JobQueue, job: Job, write: str) -> None:
    claim = claimed(queue)
    queue.start(claim)
    settled = queue.settle(claim, Settlement.succeeded({"classes": []}))
    with pytest.raises(LeaseLost):
        WRITES[write](queue, claim)
    assert queue.get(job.job_id) == settled


def test_a_beating_worker_keeps_its_job_for_ever(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    claim = claimed(queue)
    for _ in range(10):
        clock.advance(29)
        queue.heartbeat(claim, lease_s=30)
        assert queue.rescue_lost() == []


def test_a_late_heartbeat_before_the_rescue_saves_the_lease(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    claim = claimed(queue)
    clock.advance(45)  # run out, but nobody has taken the job yet
    assert queue.heartbeat(claim, lease_s=30).desired is Desired.RUN
    assert queue.rescue_lost() == []


def test_a_lease_is_not_over_at_its_last_moment(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    claimed(queue)
    clock.advance(30)
    assert queue.rescue_lost() == []
    clock.advance(0.001)
    assert queue.rescue_lost() == [job.job_id]


def test_progress_replaces_what_was_there_and_is_of_the_databases_time(
    queue: JobQueue, job: Job, clock: FakeClock
) -> None:
    claim = claimed(queue)
    queue.start(claim)
    queue.begin_running(claim)
    queue.record_progress(claim, PROGRESS)
    later = PROGRESS.model_copy(update={"step": 4, "metrics": {"loss/mil": 0.25}, "eta_s": 12.5})
    queue.record_progress(claim, later)
    found = queue.get(job.job_id)
    told = later.model_copy(update={"updated_at": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)})
    assert (found.progress, found.state) == (told, JobState.RUNNING)
