"""How jobs end: cancelled, retried, failed, rescued."""

import pytest

from service.errors import JobAlreadyEnded, JobNotFound
from service.jobs.budgets import Spent
from service.jobs.specs import TrainSpec
from service.jobs.states import Desired, FailureReason, JobState
from service.queue.records import Job, Settlement
from service.queue.repository import JobQueue
from service.queue.retry import RetryPolicy
from tests.service.clock import FakeClock
from tests.service.conftest import enqueue
from tests.service.queue.test_fencing import claimed


def test_a_waiting_job_is_cancelled_at_once(queue: JobQueue, job: Job) -> None:
    cancelled = queue.request_cancel(job.job_id)
    assert cancelled.failure is not None
    assert (cancelled.state, cancelled.failure.reason) == (JobState.CANCELLED, FailureReason.USER)
    assert queue.claim("w", lease_s=30) is None


def test_a_job_that_waits_for_a_retry_is_cancelled_at_once(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    queue.settle(claimed(queue), Settlement.retry(FailureReason.INFRASTRUCTURE, "disk"))
    assert queue.request_cancel(job.job_id).state is JobState.CANCELLED
    clock.advance(10_000)
    assert queue.claim("w", lease_s=30) is None


def test_a_running_job_runs_on_until_its_worker_heeds_the_wish(queue: JobQueue, job: Job) -> None:
    claim = claimed(queue)
    queue.start(claim)
    queue.begin_running(claim)
    asked = queue.request_cancel(job.job_id)
    assert (asked.state, asked.desired) == (JobState.RUNNING, Desired.CANCEL)
    assert queue.heartbeat(claim, lease_s=30).desired is Desired.CANCEL
    queue.begin_stopping(claim)
    assert queue.get(job.job_id).state is JobState.STOPPING
    assert queue.settle(claim, Settlement.cancelled()).state is JobState.CANCELLED


def test_asking_twice_changes_nothing(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    claimed(queue)
    first = queue.request_cancel(job.job_id)
    clock.advance(5)
    assert queue.request_cancel(job.job_id) == first


def test_cancelling_a_cancelled_job_returns_it(queue: JobQueue, job: Job) -> None:
    assert queue.request_cancel(job.job_id) == queue.request_cancel(job.job_id)


def test_a_job_that_finished_first_stays_succeeded(queue: JobQueue, job: Job) -> None:
    claim = claimed(queue)
    queue.start(claim)
    queue.request_cancel(job.job_id)
    assert queue.settle(claim, Settlement.succeeded({})).state is JobState.SUCCEEDED
    with pytest.raises(JobAlreadyEnded, match="already succeeded"):
        queue.request_cancel(job.job_id)


def test_cancelling_an_unknown_job_says_so(queue: JobQueue) -> None:
    with pytest.raises(JobNotFound):
        queue.request_cancel("abc")


def test_a_retry_waits_longer_each_time_and_then_fails(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    for delay_s in (5, 10):
        waiting = queue.settle(claimed(queue), Settlement.retry(FailureReason.CRASHED, "no word"))
        assert waiting.state is JobState.RETRY_WAIT
        clock.advance(delay_s - 0.001)
        assert queue.claim("w", lease_s=30) is None
        clock.advance(0.001)
    failed = queue.settle(claimed(queue), Settlement.retry(FailureReason.CRASHED, "no word"))
    assert failed.failure is not None
    assert (failed.state, failed.failure.reason) == (JobState.FAILED, FailureReason.CRASHED)
    assert failed.failure.message == "no word; that was failed attempt 3 of 3 (max_attempts)"
    assert [attempt.outcome for attempt in failed.attempts] == [
        JobState.RETRY_WAIT,
        JobState.RETRY_WAIT,
        JobState.FAILED,
    ]


def test_a_job_that_is_given_back_is_due_at_once_and_costs_no_attempt(queue: JobQueue, spec: TrainSpec) -> None:
    job = enqueue(queue, spec.model_copy(update={"max_lost_attempts": 1}))
    for attempt in (1, 2, 3):
        claim = claimed(queue)
        assert claim.attempt == attempt
        assert queue.settle(claim, Settlement.released("shut down")).state is JobState.RETRY_WAIT
    queue.settle(claimed(queue), Settlement.retry(FailureReason.INFRASTRUCTURE, "disk"))
    assert queue.get(job.job_id).state is JobState.FAILED


def test_a_job_given_back_after_a_wish_to_cancel_is_cancelled(queue: JobQueue, job: Job) -> None:
    claim = claimed(queue)
    queue.request_cancel(job.job_id)
    assert queue.settle(claim, Settlement.released("shut down")).state is JobState.CANCELLED


def test_a_new_attempt_forgets_the_failure_of_the_last(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    assert queue.settle(claimed(queue), Settlement.retry(FailureReason.INFRASTRUCTURE, "disk")).failure is not None
    clock.advance(60)
    claimed(queue)
    found = queue.get(job.job_id)
    assert found.failure is None
    assert found.attempts[0].message == "disk"


def test_a_retry_after_a_wish_to_cancel_is_a_cancel(queue: JobQueue, job: Job) -> None:
    claim = claimed(queue)
    queue.request_cancel(job.job_id)
    settled = queue.settle(claim, Settlement.retry(FailureReason.INFRASTRUCTURE, "no disk"))
    assert settled.failure is not None
    assert (settled.state, settled.failure.reason) == (JobState.CANCELLED, FailureReason.USER)


def test_a_lost_worker_leads_to_another_attempt(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    queue.start(claimed(queue, "gone"))
    clock.advance(31)
    assert queue.rescue_lost() == [job.job_id]
    assert queue.rescue_lost() == []
    found = queue.get(job.job_id)
    assert found.failure is not None
    assert (found.state, found.failure.reason) == (JobState.RETRY_WAIT, FailureReason.LOST_WORKER)
    assert "gone stopped renewing" in found.failure.message
    clock.advance(5)
    assert claimed(queue, "heir").attempt == 2


def test_a_worker_lost_on_the_last_attempt_fails_the_job(queue: JobQueue, spec: TrainSpec, clock: FakeClock) -> None:
    job = enqueue(queue, spec.model_copy(update={"max_lost_attempts": 1}))
    claimed(queue)
    clock.advance(31)
    queue.rescue_lost()
    assert queue.get(job.job_id).state is JobState.FAILED


def test_a_worker_lost_while_stopping_leaves_the_job_cancelled(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    claim = claimed(queue)
    queue.start(claim)
    queue.request_cancel(job.job_id)
    queue.begin_stopping(claim)
    clock.advance(31)
    queue.rescue_lost()
    assert queue.get(job.job_id).state is JobState.CANCELLED


def test_what_trying_again_cannot_mend_is_not_retried() -> None:
    with pytest.raises(ValueError, match="diverged is not retryable"):
        Settlement.retry(FailureReason.DIVERGED, "nan")
    for reason in FailureReason:
        decision = RetryPolicy().decide(reason, spent=Spent(), max_attempts=3, max_lost_attempts=3)
        assert decision.again is reason.is_retryable


def test_a_lost_worker_costs_no_attempt_of_the_jobs_own(queue: JobQueue, spec: TrainSpec, clock: FakeClock) -> None:
    job = enqueue(queue, spec.model_copy(update={"max_attempts": 2, "max_lost_attempts": 3}))
    reasons = (FailureReason.LOST_WORKER, FailureReason.CRASHED, FailureReason.INFRASTRUCTURE)
    for reason in reasons:
        assert queue.settle(claimed(queue), Settlement.retry(reason, "so")).state is JobState.RETRY_WAIT
        clock.advance(600)
    found = queue.get(job.job_id)
    assert (found.attempt, found.failed_attempts, found.lost_attempts) == (3, 1, 2)
    failed = queue.settle(claimed(queue), Settlement.retry(FailureReason.LOST_WORKER, "gone"))
    assert failed.failure is not None
    assert (failed.state, failed.failure.message) == (
        JobState.FAILED,
        "gone; that was lost attempt 3 of 3 (max_lost_attempts)",
    )


def test_a_crash_after_lost_workers_waits_as_a_first_one(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    for _ in range(3):
        queue.settle(claimed(queue), Settlement.retry(FailureReason.LOST_WORKER, "gone"))
        clock.advance(600)
    crashed = queue.settle(claimed(queue), Settlement.retry(FailureReason.CRASHED, "no word"))
    assert (crashed.available_at - crashed.updated_at).total_seconds() == 5


def test_back_off_is_bounded_even_after_very_many_attempts() -> None:
    assert RetryPolicy(longest_s=300).longest_delay_s(10_000) == 300


def test_jitter_takes_up_to_its_share_of_the_wait() -> None:
    def delay_s(drawn: float) -> float:
        policy = RetryPolicy(base_s=8, jitter=0.25, random=lambda: drawn)
        return policy.decide(FailureReason.CRASHED, spent=Spent(), max_attempts=3, max_lost_attempts=3).delay_s

    assert (delay_s(0.0), delay_s(0.5), delay_s(1.0)) == (8, 7, 6)


def test_a_message_longer_than_its_column_is_cut(queue: JobQueue, job: Job) -> None:
    settled = queue.settle(claimed(queue), Settlement.failed(FailureReason.BAD_INPUT, "x" * 10_000))
    assert settled.failure is not None
    assert len(settled.failure.message) == 4000
