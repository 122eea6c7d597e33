"""What the queue has done, as every process of the API counts it from the tables."""

import pytest
from sqlalchemy import Engine, delete, update
from sqlalchemy.exc import OperationalError

from service.errors import DatabaseUnavailable
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason, JobState
from service.jobs.worker_figures import WorkerFigures
from service.queue import figures
from service.queue.figures import ATTEMPT_BUCKETS_S, EndedKind, QueueCounter, SeenWorker
from service.queue.records import Job, Settlement
from service.queue.repository import JobQueue
from service.queue.tables import JobRow, WorkerRow
from tests.service.clock import FakeClock
from tests.service.conftest import enqueue

SUCCEEDED = EndedKind("train", "succeeded", "")
RETRIED = EndedKind("train", "retry_wait", "infrastructure")


@pytest.fixture
def counter(engine: Engine, clock: FakeClock) -> QueueCounter:
    return QueueCounter(engine, clock=clock)


def attempt(queue: JobQueue, clock: FakeClock, settlement: Settlement, *, took_s: float) -> None:
    """One attempt at the job that is due."""
    claim = queue.claim("w", lease_s=10**6)
    assert claim is not None
    queue.start(claim)
    clock.advance(took_s)
    queue.settle(claim, settlement)


def succeed(queue: JobQueue, clock: FakeClock, spec: TrainSpec, *, took_s: float = 10) -> Job:
    job = enqueue(queue, spec)
    attempt(queue, clock, Settlement.succeeded({}), took_s=took_s)
    return job


def test_an_empty_queue_has_done_nothing(counter: QueueCounter) -> None:
    found = counter.count()
    assert (found.jobs, found.oldest_waiting_s, found.ended, found.claims()) == ({}, None, {}, {})


def test_jobs_are_counted_by_state_and_kind(
    counter: QueueCounter, queue: JobQueue, clock: FakeClock, spec: TrainSpec
) -> None:
    for _ in range(2):
        enqueue(queue, spec)
        clock.advance(5)
    queue.claim("w", lease_s=30)
    found = counter.count()
    assert found.jobs == {(JobState.QUEUED, "train"): 1, (JobState.CLAIMED, "train"): 1}
    assert found.oldest_waiting_s == 5


def test_an_attempt_is_counted_by_how_it_ended_and_how_long_it_took(
    counter: QueueCounter, queue: JobQueue, clock: FakeClock, job: Job
) -> None:
    attempt(queue, clock, Settlement.retry(FailureReason.INFRASTRUCTURE, "disk"), took_s=2)
    clock.advance(600)
    attempt(queue, clock, Settlement.succeeded({}), took_s=100)
    ended = counter.count().ended
    assert {key: found.count for key, found in ended.items()} == {RETRIED: 1, SUCCEEDED: 1}
    assert (ended[RETRIED].seconds, ended[SUCCEEDED].seconds) == (2, 100)
    assert ended[SUCCEEDED].by_bucket[ATTEMPT_BUCKETS_S.index(300)] == 1


def test_an_attempt_that_took_weeks_is_in_the_last_bucket(
    counter: QueueCounter, queue: JobQueue, clock: FakeClock, spec: TrainSpec
) -> None:
    succeed(queue, clock, spec, took_s=20 * 86400)
    assert counter.count().ended[SUCCEEDED].by_bucket[-1] == 1


def test_claims_are_the_attempts_that_ended_and_those_at_work(
    counter: QueueCounter, queue: JobQueue, clock: FakeClock, spec: TrainSpec
) -> None:
    succeed(queue, clock, spec)
    enqueue(queue, spec)
    queue.claim("w", lease_s=30)
    assert counter.count().claims() == {"train": 2}


def test_each_process_of_the_api_counts_the_same_whenever_it_began(
    counter: QueueCounter, engine: Engine, queue: JobQueue, clock: FakeClock, spec: TrainSpec
) -> None:
    for _ in range(3):
        succeed(queue, clock, spec)
        counter.count()
        clock.advance(500)
    late = QueueCounter(engine, clock=clock)
    assert late.count() == counter.count()
    assert counter.count().ended[SUCCEEDED].count == 3


def test_a_job_that_is_deleted_still_counts(
    counter: QueueCounter, engine: Engine, queue: JobQueue, clock: FakeClock, spec: TrainSpec
) -> None:
    first, second, _ = (succeed(queue, clock, spec, took_s=took_s) for took_s in (10, 20, 4000))
    before = counter.count().ended[SUCCEEDED]
    for job in (first, second):
        queue.delete(job.job_id)
        clock.advance(1000)
        assert counter.count().ended[SUCCEEDED] == before
        assert QueueCounter(engine, clock=clock).count().ended[SUCCEEDED] == before


def test_what_ended_long_ago_is_not_read_again(
    counter: QueueCounter, engine: Engine, queue: JobQueue, clock: FakeClock, spec: TrainSpec
) -> None:
    succeed(queue, clock, spec)
    clock.advance(3600)
    before = counter.count()
    with engine.begin() as connection:
        connection.execute(delete(JobRow))  # behind its back: a count that read it again would miss it
    assert counter.count().ended == before.ended


def test_workers_tell_their_figures_with_their_heartbeats(
    counter: QueueCounter, queue: JobQueue, clock: FakeClock
) -> None:
    told = WorkerFigures(heartbeats=3, steps_per_second=2.5)
    queue.announce("b", None, ttl_s=60, figures=told)
    queue.announce("a", None, ttl_s=60)
    clock.advance(10)
    queue.announce("b", None, ttl_s=60)
    clock.advance(2)
    assert counter.count().workers == (SeenWorker("a", 12, WorkerFigures()), SeenWorker("b", 2, told))
    clock.advance(50)
    assert [worker.worker_id for worker in counter.count().workers] == ["b"], "the other one is gone"


def test_figures_of_a_worker_of_another_version_are_passed_over(
    counter: QueueCounter, engine: Engine, queue: JobQueue
) -> None:
    queue.announce("a", None, ttl_s=60, figures=WorkerFigures())
    with engine.begin() as connection:
        connection.execute(update(WorkerRow).values(figures={"heartbeats": "many"}))
    assert counter.count().workers == (SeenWorker("a", 0, WorkerFigures()),)


def test_a_count_that_breaks_off_is_not_half_remembered(
    counter: QueueCounter,
    queue: JobQueue,
    clock: FakeClock,
    spec: TrainSpec,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    succeed(queue, clock, spec)
    clock.advance(3600)
    whole = figures.Ended.add

    def break_off(known: figures.Ended, more: figures.Ended) -> None:
        whole(known, more)
        raise OperationalError("SELECT", {}, Exception("gone"))

    with monkeypatch.context() as broken:
        broken.setattr(figures.Ended, "add", break_off)
        with pytest.raises(DatabaseUnavailable):
            counter.count()
    assert counter.count().ended[SUCCEEDED].count == 1
