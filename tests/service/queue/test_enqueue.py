from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, text

from service.errors import IdempotencyKeyReused, JobNotFound
from service.jobs.access import KeySpec, Scope
from service.jobs.specs import TrainSpec
from service.jobs.states import Desired, JobState
from service.queue.callers import LOCAL, Caller, called_by
from service.queue.keys import KeyRegister
from service.queue.records import Job
from service.queue.repository import JobQueue
from tests.service.clock import FakeClock


def test_a_new_job_waits_with_its_spec_whole(queue: JobQueue, job: Job, spec: TrainSpec) -> None:
    found = queue.get(job.job_id)
    assert (found.state, found.desired, found.attempt, found.attempts) == (JobState.QUEUED, Desired.RUN, 0, ())
    assert TrainSpec.model_validate(found.spec) == spec


def test_a_known_key_with_the_same_body_gives_the_same_job(queue: JobQueue, spec: TrainSpec) -> None:
    first, created = queue.enqueue(spec, idempotency_key="k", body_digest="a")
    again, created_again = queue.enqueue(spec, idempotency_key="k", body_digest="a")
    assert (first.job_id, created, created_again) == (again.job_id, True, False)


def test_a_known_key_with_another_body_is_refused(queue: JobQueue, spec: TrainSpec) -> None:
    queue.enqueue(spec, idempotency_key="k", body_digest="a")
    with pytest.raises(IdempotencyKeyReused, match="another body"):
        queue.enqueue(spec, idempotency_key="k", body_digest="b")
    assert len(queue.page(limit=10).jobs) == 1


def test_two_callers_with_one_key_make_a_job_each(queue: JobQueue, engine: Engine, spec: TrainSpec) -> None:
    def submit(caller: Caller) -> str:
        with called_by(caller):
            return queue.enqueue(spec, idempotency_key="1" * 255, body_digest="a")[0].job_id

    known = [KeyRegister(engine).create(KeySpec(name=name, scope=Scope.SUBMIT))[0] for name in ("ada", "bob")]
    callers = [*(Caller(key.key_id, key.name, key.scope) for key in known), LOCAL]
    made = [submit(caller) for caller in callers]
    assert len(set(made)) == 3
    assert [submit(caller) for caller in callers] == made


def test_one_key_from_many_threads_at_once_makes_one_job(queue: JobQueue, spec: TrainSpec) -> None:
    def submit(_: int) -> tuple[str, bool]:
        job, created = queue.enqueue(spec, idempotency_key="k", body_digest="a")
        return job.job_id, created

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(submit, range(16)))
    assert len({job_id for job_id, _ in made}) == 1
    assert sum(created for _, created in made) == 1


def test_jobs_without_a_key_are_never_taken_for_each_other(queue: JobQueue, spec: TrainSpec) -> None:
    ids = {queue.enqueue(spec, idempotency_key=None, body_digest="a")[0].job_id for _ in range(3)}
    assert len(ids) == 3


def test_an_unknown_job_is_named(queue: JobQueue) -> None:
    with pytest.raises(JobNotFound, match="abc"):
        queue.get("abc")


def test_the_database_itself_refuses_a_state_that_does_not_exist(engine: Engine, job: Job) -> None:
    with pytest.raises(Exception, match="ck_job_state"), engine.begin() as connection:
        connection.execute(text("UPDATE job SET state = 'dreaming'"))


def test_the_database_itself_refuses_a_running_job_without_a_lease(engine: Engine, job: Job) -> None:
    with pytest.raises(Exception, match="ck_job_leased"), engine.begin() as connection:
        connection.execute(text("UPDATE job SET state = 'running'"))


def test_health_counts_states_and_the_longest_wait(queue: JobQueue, spec: TrainSpec, clock: FakeClock) -> None:
    assert queue.health().oldest_waiting_s is None
    for _ in range(2):
        queue.enqueue(spec, idempotency_key=None, body_digest="a")
        clock.advance(5)
    queue.claim("w", lease_s=30)
    health = queue.health()
    assert health.counts == {JobState.QUEUED: 1, JobState.CLAIMED: 1}
    assert health.oldest_waiting_s == 5
