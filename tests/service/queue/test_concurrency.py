import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

from sqlalchemy import Engine, text

from service.jobs.specs import TrainSpec
from service.jobs.states import JobState
from service.queue.database import open_database
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.conftest import enqueue

JOBS = 40


def drain(database_url: str, worker: str) -> list[str]:
    """Claim, run and settle until the queue is empty; the ids in order."""
    engine = open_database(database_url)
    queue = JobQueue(engine)
    done = []
    while (claim := queue.claim(worker, lease_s=60)) is not None:
        queue.start(claim)
        queue.settle(claim, Settlement.succeeded({"by": worker}))
        done.append(claim.job_id)
    engine.dispose()
    return done


def test_processes_at_once_lose_no_job_and_run_none_twice(database_url: str, engine: Engine, spec: TrainSpec) -> None:
    queue = JobQueue(engine)
    made = {enqueue(queue, spec).job_id for _ in range(JOBS)}
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        done = [job_id for ids in pool.map(drain, [database_url] * 3, "abc") for job_id in ids]
    assert sorted(done) == sorted(made)
    assert queue.health().counts == {JobState.SUCCEEDED: JOBS}


def test_threads_at_once_lose_no_job_and_run_none_twice(database_url: str, engine: Engine, spec: TrainSpec) -> None:
    queue = JobQueue(engine)
    made = {enqueue(queue, spec).job_id for _ in range(JOBS)}
    with ThreadPoolExecutor(4) as pool:
        done = [job_id for ids in pool.map(lambda name: drain(database_url, name), "abcd") for job_id in ids]
    assert sorted(done) == sorted(made)


def test_one_lost_job_is_rescued_once_by_many_rescuers(engine: Engine, spec: TrainSpec) -> None:
    queue = JobQueue(engine)
    job = enqueue(queue, spec)
    assert queue.claim("w", lease_s=-1) is not None  # a lease that has run out when it begins
    with ThreadPoolExecutor(4) as pool:
        rescued = [job_id for ids in pool.map(lambda _: queue.rescue_lost(), range(8)) for job_id in ids]
    assert rescued == [job.job_id]
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM job_event WHERE to_state = 'retry_wait'")) == 1
