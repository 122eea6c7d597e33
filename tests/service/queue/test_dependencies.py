"""Jobs that wait for others."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from service.errors import InvalidSpec
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason, JobState
from service.queue.records import Job, Settlement
from service.queue.repository import JobQueue
from tests.service.conftest import enqueue
from tests.service.queue.test_fencing import claimed

SUCCESS = Settlement.succeeded({})
FAILURE = Settlement.failed(FailureReason.DIVERGED, "nan")


def end_next(queue: JobQueue, settlement: Settlement) -> str:
    claim = claimed(queue)
    queue.start(claim)
    return queue.settle(claim, settlement).job_id


@pytest.fixture
def after(queue: JobQueue, spec: TrainSpec) -> Callable[..., Job]:
    return lambda *jobs: enqueue(queue, spec.model_copy(update={"after": tuple(job.job_id for job in jobs)}))


def test_a_job_waits_until_all_others_have_succeeded(
    queue: JobQueue, spec: TrainSpec, job: Job, after: Callable[..., Job]
) -> None:
    other = enqueue(queue, spec)
    waiting = after(job, other)
    assert waiting.state is JobState.BLOCKED
    end_next(queue, SUCCESS)
    assert queue.get(waiting.job_id).state is JobState.BLOCKED
    end_next(queue, SUCCESS)
    assert queue.get(waiting.job_id).state is JobState.QUEUED
    assert claimed(queue).job_id == waiting.job_id


def test_a_job_after_those_that_have_succeeded_waits_for_nothing(
    queue: JobQueue, job: Job, after: Callable[..., Job]
) -> None:
    end_next(queue, SUCCESS)
    assert after(job).state is JobState.QUEUED


def test_a_job_that_fails_takes_along_all_that_wait_for_it(
    queue: JobQueue, job: Job, after: Callable[..., Job]
) -> None:
    second = after(job)
    third = after(second)
    end_next(queue, FAILURE)
    for waiting, cause in ((second, job), (third, second)):
        ended = queue.get(waiting.job_id)
        assert ended.failure is not None
        assert (ended.state, ended.failure.reason) == (JobState.CANCELLED, FailureReason.DEPENDENCY)
        assert f"job {cause.job_id}" in ended.failure.message


def test_a_job_that_waits_for_two_of_which_one_takes_the_other_along_ends_once(
    queue: JobQueue, job: Job, after: Callable[..., Job]
) -> None:
    second = after(job)
    both = after(job, second)
    queue.request_cancel(job.job_id)
    assert [queue.get(one.job_id).state for one in (second, both)] == [JobState.CANCELLED] * 2


def test_a_job_that_is_cancelled_does_so_too(queue: JobQueue, job: Job, after: Callable[..., Job]) -> None:
    waiting = after(job)
    queue.request_cancel(job.job_id)
    assert queue.get(waiting.job_id).state is JobState.CANCELLED


def test_waiting_for_what_has_failed_or_is_not_there_is_refused_by_field(
    queue: JobQueue, job: Job, spec: TrainSpec
) -> None:
    end_next(queue, FAILURE)
    with pytest.raises(InvalidSpec) as caught:
        enqueue(queue, spec.model_copy(update={"after": ("ff", job.job_id)}))
    assert [problem.field for problem in caught.value.fields] == ["after.0", "after.1"]
    assert f"POST /v1/jobs/{job.job_id}/retry" in caught.value.detail
    assert len(queue.page(limit=10).jobs) == 1


def test_a_blocked_job_can_be_paused_and_resumed_and_waits_on(
    queue: JobQueue, job: Job, after: Callable[..., Job]
) -> None:
    waiting = after(job)
    queue.request_pause(waiting.job_id)
    assert queue.resume(waiting.job_id).state is JobState.BLOCKED
    queue.request_pause(waiting.job_id)
    end_next(queue, SUCCESS)
    assert queue.get(waiting.job_id).state is JobState.PAUSED
    assert queue.resume(waiting.job_id).state is JobState.QUEUED


def test_a_job_resumed_after_its_dependency_failed_ends(queue: JobQueue, job: Job, after: Callable[..., Job]) -> None:
    waiting = after(job)
    queue.request_pause(waiting.job_id)
    end_next(queue, FAILURE)
    queue.resume(waiting.job_id)
    ended = queue.get(waiting.job_id)
    assert ended.failure is not None
    assert ended.failure.reason is FailureReason.DEPENDENCY


def test_two_that_end_at_once_free_the_job_that_waits_for_both(engine: Engine, spec: TrainSpec) -> None:
    queue = JobQueue(engine)
    for _ in range(5):
        first, second = enqueue(queue, spec), enqueue(queue, spec)
        waiting = enqueue(queue, spec.model_copy(update={"after": (first.job_id, second.job_id)}))
        claims = [claimed(queue), claimed(queue)]
        for claim in claims:
            queue.start(claim)
        together = threading.Barrier(2)

        def end(number: int, claims: list = claims, together: threading.Barrier = together) -> None:  # type: ignore[type-arg]
            together.wait()
            queue.settle(claims[number], SUCCESS)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(end, range(2)))
        assert queue.get(waiting.job_id).state is JobState.QUEUED
        assert end_next(queue, SUCCESS) == waiting.job_id


def test_what_was_passed_over_is_moved_on_by_the_reconciler(
    queue: JobQueue, job: Job, after: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = after(job)
    monkeypatch.setattr("service.queue.moves.dependents", lambda *_: [])  # as if it had been locked by another
    end_next(queue, SUCCESS)
    assert queue.get(waiting.job_id).state is JobState.BLOCKED
    assert queue.unblock_waiting() == [waiting.job_id]
    assert queue.unblock_waiting() == []
    assert queue.get(waiting.job_id).state is JobState.QUEUED
