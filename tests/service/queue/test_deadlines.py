"""A job leaves each state that somebody must end in time, though its worker keeps the lease."""

from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason, JobState
from service.queue.deadlines import Deadlines
from service.queue.records import Claim, Job, Settlement
from service.queue.repository import JobQueue
from tests.service.clock import FakeClock
from tests.service.conftest import enqueue
from tests.service.queue.test_fencing import claimed

LIMITS = Deadlines()


def at_work(queue: JobQueue) -> Claim:
    claim = claimed(queue)
    queue.start(claim)
    queue.begin_running(claim)
    return claim


def overdue_after(queue: JobQueue, claim: Claim, clock: FakeClock, seconds: float) -> bool:
    clock.advance(seconds)
    return queue.heartbeat(claim, lease_s=30).overdue


def limited(queue: JobQueue, spec: TrainSpec, max_runtime_s: float) -> Job:
    return enqueue(queue, spec.model_copy(update={"max_runtime_s": max_runtime_s}))


def test_the_worker_hears_that_a_state_lasts_too_long(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    claim = claimed(queue)
    assert not overdue_after(queue, claim, clock, LIMITS.claimed_s)
    assert overdue_after(queue, claim, clock, 0.001)
    queue.start(claim)
    assert not overdue_after(queue, claim, clock, LIMITS.starting_s)
    assert overdue_after(queue, claim, clock, 0.001)
    queue.begin_running(claim)
    assert not overdue_after(queue, claim, clock, 1e6)
    queue.begin_stopping(claim)
    assert overdue_after(queue, claim, clock, LIMITS.stopping_s + 0.001)


def test_a_job_with_a_longest_time_is_overdue_when_it_has_run_so_long(
    queue: JobQueue, spec: TrainSpec, clock: FakeClock
) -> None:
    limited(queue, spec, 100)
    claim = at_work(queue)
    assert not overdue_after(queue, claim, clock, 100)
    assert overdue_after(queue, claim, clock, 0.001)


def test_the_time_is_counted_over_all_attempts_and_only_while_it_runs(
    queue: JobQueue, spec: TrainSpec, clock: FakeClock
) -> None:
    job = limited(queue, spec, 100)
    claim = at_work(queue)
    clock.advance(60)
    queue.request_pause(job.job_id)
    queue.settle(claim, Settlement.paused())
    clock.advance(1000)
    queue.resume(job.job_id)
    claim = at_work(queue)
    assert not overdue_after(queue, claim, clock, 40)
    assert overdue_after(queue, claim, clock, 0.001)


def test_a_job_is_taken_from_a_worker_that_beats_and_does_not_act(
    queue: JobQueue, spec: TrainSpec, clock: FakeClock
) -> None:
    job = limited(queue, spec, 100)
    claim = at_work(queue)
    overdue_after(queue, claim, clock, 100 + LIMITS.grace_s)
    assert queue.enforce_deadlines() == []
    clock.advance(0.001)
    assert queue.enforce_deadlines() == [job.job_id]
    ended = queue.get(job.job_id)
    assert ended.failure is not None
    assert (ended.state, ended.failure.reason) == (JobState.FAILED, FailureReason.DEADLINE)
    assert "max_runtime_s of 100" in ended.failure.message


def test_a_job_that_is_not_brought_to_work_is_charged_to_the_worker(
    queue: JobQueue, job: Job, clock: FakeClock
) -> None:
    claim = claimed(queue)
    queue.start(claim)
    overdue_after(queue, claim, clock, LIMITS.starting_s + LIMITS.grace_s + 0.001)
    assert queue.enforce_deadlines() == [job.job_id]
    taken = queue.get(job.job_id)
    assert (taken.state, taken.failed_attempts, taken.lost_attempts) == (JobState.RETRY_WAIT, 0, 1)
    assert taken.failure is not None
    assert "which left it starting for too long" in taken.failure.message


def test_a_job_that_is_not_brought_to_a_stop_becomes_what_was_wanted(
    queue: JobQueue, spec: TrainSpec, clock: FakeClock
) -> None:
    for ask, state in ((queue.request_cancel, JobState.CANCELLED), (queue.request_pause, JobState.PAUSED)):
        job = limited(queue, spec, 100)
        claim = at_work(queue)
        ask(job.job_id)
        queue.begin_stopping(claim)
        overdue_after(queue, claim, clock, LIMITS.stopping_s + LIMITS.grace_s + 0.001)
        queue.enforce_deadlines()
        assert queue.get(job.job_id).state is state


def test_a_job_stopped_for_its_time_fails_though_its_worker_cannot_stop_it(
    queue: JobQueue, spec: TrainSpec, clock: FakeClock
) -> None:
    job = limited(queue, spec, 100)
    claim = at_work(queue)
    overdue_after(queue, claim, clock, 101)
    queue.begin_stopping(claim)
    overdue_after(queue, claim, clock, LIMITS.stopping_s + LIMITS.grace_s + 0.001)
    queue.enforce_deadlines()
    ended = queue.get(job.job_id)
    assert ended.failure is not None
    assert ended.failure.reason is FailureReason.DEADLINE
