"""What a client wants: paused, resumed, killed; severity only rises."""

from collections.abc import Callable

import pytest

from service.errors import JobAlreadyEnded, JobBusy
from service.jobs.states import Desired, FailureReason, JobState
from service.queue.records import Job, Settlement
from service.queue.repository import JobQueue
from tests.service.clock import FakeClock
from tests.service.queue.test_fencing import claimed

FAILURE = Settlement.retry(FailureReason.INFRASTRUCTURE, "disk")


def test_a_waiting_job_is_paused_at_once_and_claimed_only_when_it_is_resumed(queue: JobQueue, job: Job) -> None:
    assert queue.request_pause(job.job_id).state is JobState.PAUSED
    assert queue.claim("w", lease_s=30) is None
    resumed = queue.resume(job.job_id)
    assert (resumed.state, resumed.desired) == (JobState.QUEUED, Desired.RUN)
    assert claimed(queue).job_id == job.job_id


def test_a_back_off_ends_with_a_pause(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    queue.settle(claimed(queue), FAILURE)
    assert queue.request_pause(job.job_id).state is JobState.PAUSED
    assert queue.resume(job.job_id).failure is None
    assert claimed(queue).attempt == 2  # without the rest of the back-off


def test_a_running_job_is_paused_when_its_worker_has_stopped_it(queue: JobQueue, job: Job) -> None:
    claim = claimed(queue)
    queue.start(claim)
    queue.begin_running(claim)
    asked = queue.request_pause(job.job_id)
    assert (asked.state, asked.desired) == (JobState.RUNNING, Desired.PAUSE)
    assert queue.heartbeat(claim, lease_s=30).desired is Desired.PAUSE
    queue.begin_stopping(claim)
    paused = queue.settle(claim, Settlement.paused())
    assert (paused.state, paused.ended_at) == (JobState.PAUSED, None)
    assert paused.attempts[0].outcome is JobState.PAUSED
    assert (paused.failed_attempts, paused.lost_attempts) == (0, 0)


def test_a_pause_that_is_taken_back_while_the_job_stops_leads_to_another_attempt_at_once(
    queue: JobQueue, job: Job
) -> None:
    claim = claimed(queue)
    queue.request_pause(job.job_id)
    assert queue.resume(job.job_id).desired is Desired.RUN
    assert queue.settle(claim, Settlement.paused()).state is JobState.RETRY_WAIT
    assert claimed(queue).attempt == 2


@pytest.mark.parametrize("end", [FAILURE, Settlement.released("shut down")])
def test_whatever_ends_an_attempt_for_a_while_a_job_that_shall_pause_is_paused(
    queue: JobQueue, job: Job, end: Settlement
) -> None:
    claim = claimed(queue)
    queue.request_pause(job.job_id)
    assert queue.settle(claim, end).state is JobState.PAUSED


def test_a_worker_lost_while_a_pause_was_wanted_leaves_the_job_paused(
    queue: JobQueue, job: Job, clock: FakeClock
) -> None:
    claimed(queue)
    queue.request_pause(job.job_id)
    clock.advance(31)
    queue.rescue_lost()
    paused = queue.get(job.job_id)
    assert (paused.state, paused.lost_attempts) == (JobState.PAUSED, 1)


def test_severity_only_rises(queue: JobQueue, job: Job) -> None:
    claimed(queue)
    wanted = [
        queue.request_pause(job.job_id).desired,
        queue.request_cancel(job.job_id).desired,
        queue.request_cancel(job.job_id, force=True).desired,
        queue.request_cancel(job.job_id).desired,
    ]
    assert wanted == [Desired.PAUSE, Desired.CANCEL, Desired.KILL, Desired.KILL]
    for ask in (queue.request_pause, queue.resume):
        with pytest.raises(JobBusy, match="being cancelled"):
            ask(job.job_id)


def test_a_pause_that_came_too_late_changes_no_success(queue: JobQueue, job: Job) -> None:
    claim = claimed(queue)
    queue.start(claim)
    queue.request_pause(job.job_id)
    assert queue.settle(claim, Settlement.succeeded({})).state is JobState.SUCCEEDED


def test_a_paused_job_can_be_cancelled(queue: JobQueue, job: Job) -> None:
    queue.request_pause(job.job_id)
    assert queue.request_cancel(job.job_id).state is JobState.CANCELLED


@pytest.mark.parametrize("verb", ["request_pause", "resume"])
def test_what_has_ended_is_refused_with_the_way_out(queue: JobQueue, job: Job, verb: str) -> None:
    queue.request_cancel(job.job_id)
    ask: Callable[[str], Job] = getattr(queue, verb)
    with pytest.raises(JobAlreadyEnded, match=f"POST /v1/jobs/{job.job_id}/retry"):
        ask(job.job_id)


def test_asking_again_changes_nothing(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    for ask in (queue.resume, queue.request_pause, queue.resume):
        first = ask(job.job_id)
        clock.advance(5)
        assert ask(job.job_id) == first
