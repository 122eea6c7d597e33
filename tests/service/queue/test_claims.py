import time
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select, text

from service.errors import IllegalTransition
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason, JobState
from service.queue.database import DatabaseClock
from service.queue.leases import next_due
from service.queue.records import Job, Settlement
from service.queue.repository import JobQueue
from service.queue.tables import JobRow
from tests.service.clock import FakeClock
from tests.service.conftest import enqueue


def test_an_empty_queue_has_nothing_to_claim(queue: JobQueue) -> None:
    assert queue.claim("w", lease_s=30) is None


def test_a_claim_carries_all_a_worker_needs(queue: JobQueue, job: Job, spec: TrainSpec) -> None:
    claim = queue.claim("worker-1", lease_s=30)
    assert claim is not None
    assert (claim.job_id, claim.attempt, claim.spec, claim.tracking_run_id) == (job.job_id, 1, spec, None)
    found = queue.get(job.job_id)
    assert found.state is JobState.CLAIMED
    assert [attempt.worker_id for attempt in found.attempts] == ["worker-1"]


def test_a_claimed_job_is_not_claimed_again(queue: JobQueue, job: Job) -> None:
    assert queue.claim("a", lease_s=30) is not None
    assert queue.claim("b", lease_s=30) is None


def test_the_urgent_come_first_and_then_the_old(queue: JobQueue, spec: TrainSpec, clock: FakeClock) -> None:
    ids = []
    for priority in (0, 5, 5, -3):
        ids.append(enqueue(queue, spec.model_copy(update={"priority": priority})).job_id)
        clock.advance(1)
    claims = [queue.claim("w", lease_s=30) for _ in ids]
    assert [claim.job_id for claim in claims if claim] == [ids[1], ids[2], ids[0], ids[3]]


def test_an_attempt_runs_to_its_results(queue: JobQueue, job: Job, clock: FakeClock) -> None:
    claim = queue.claim("w", lease_s=30)
    assert claim is not None
    clock.advance(1)
    queue.start(claim, pid=77)
    queue.record_resume(claim, step=40)
    clock.advance(10)
    ended = queue.settle(claim, Settlement.succeeded({"classes": []}))
    assert (ended.state, ended.results, ended.failure) == (JobState.SUCCEEDED, {"classes": []}, None)
    assert ended.started_at == job.created_at + timedelta(seconds=1)
    assert ended.ended_at == job.created_at + timedelta(seconds=11)
    (attempt,) = ended.attempts
    assert (attempt.pid, attempt.resumed_from_step, attempt.outcome) == (77, 40, JobState.SUCCEEDED)


def test_every_change_of_state_leaves_an_event(queue: JobQueue, engine: Engine, job: Job) -> None:
    claim = queue.claim("w", lease_s=30)
    assert claim is not None
    queue.start(claim)
    queue.begin_running(claim)
    queue.begin_running(claim)  # said twice, happened once
    queue.begin_stopping(claim)
    queue.begin_stopping(claim)
    queue.settle(claim, Settlement.cancelled())
    with engine.connect() as connection:
        events = connection.execute(text("SELECT from_state, to_state, actor FROM job_event ORDER BY id")).all()
    assert [tuple(event) for event in events] == [
        (None, "queued", "api"),
        ("queued", "claimed", "w"),
        ("claimed", "starting", "w"),
        ("starting", "running", "w"),
        ("running", "stopping", "w"),
        ("stopping", "cancelled", "w"),
    ]


def test_a_move_that_the_table_forbids_changes_nothing(queue: JobQueue, job: Job) -> None:
    claim = queue.claim("w", lease_s=30)
    assert claim is not None
    with pytest.raises(IllegalTransition, match="claimed and cannot become succeeded"):
        queue.settle(claim, Settlement.succeeded({}))
    found = queue.get(job.job_id)
    assert (found.state, found.results, found.attempts[0].ended_at) == (JobState.CLAIMED, None, None)


def test_a_spec_that_cannot_be_read_fails_instead_of_coming_back_for_ever(
    queue: JobQueue, engine: Engine, job: Job
) -> None:
    with engine.begin() as connection:
        connection.execute(text("""UPDATE job SET spec = '{"kind": "forgotten"}'"""))
    assert queue.claim("w", lease_s=30) is None
    found = queue.get(job.job_id)
    assert found.failure is not None
    assert (found.state, found.failure.reason) == (JobState.FAILED, FailureReason.BAD_INPUT)
    assert "submit it again" in found.failure.message


def test_a_job_is_tied_to_one_run_for_good(queue: JobQueue, job: Job) -> None:
    assert queue.attach_tracking(job.job_id, "run-1") == "run-1"
    assert queue.attach_tracking(job.job_id, "run-2") == "run-1"
    claim = queue.claim("w", lease_s=30)
    assert claim is not None
    assert claim.tracking_run_id == "run-1"


def test_claiming_reads_the_index_of_claimable_jobs_in_its_order(queue: JobQueue, engine: Engine, job: Job) -> None:
    copied = ", ".join(column.name for column in JobRow.__table__.columns if column.name not in ("id", "state"))
    numbers = "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 2000)"
    ended = f"INSERT INTO job (id, state, {copied}) {numbers} SELECT 'e' || n, 'cancelled', {copied} FROM number, job"
    waiting = f"INSERT INTO job (id, state, {copied}) {numbers} SELECT 'w' || n, 'queued', {copied} FROM number, job"
    with engine.begin() as connection:
        connection.execute(text(f"{ended} WHERE id = '{job.job_id}'"))
        connection.execute(text(f"{waiting} WHERE id = '{job.job_id}'"))
        connection.execute(text("ANALYZE"))
    statement = next_due(round(job.created_at.timestamp() * 1000)).compile(engine)
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    given = [statement.params[name] for name in statement.positiontup or ()] or statement.params
    with engine.begin() as connection:
        plan = str(
            connection.exec_driver_sql(
                f"{explain} {statement}", tuple(given) if isinstance(given, list) else given
            ).all()
        )
    assert "ix_job_claim" in plan
    assert "TEMP B-TREE" not in plan
    assert "Sort" not in plan


def test_the_database_says_the_time_of_day(engine: Engine) -> None:
    with engine.connect() as connection:
        now_ms = connection.scalar(select(DatabaseClock().now_ms(engine.dialect.name)))
    assert now_ms is not None
    assert abs(now_ms / 1000 - time.time()) < 5
