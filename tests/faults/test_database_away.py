"""A PostgreSQL that cannot be reached for a while: the way to it is cut, and opened again."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from service.app import create_app
from service.errors import DatabaseUnavailable
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason, JobState
from service.queue import postgresql
from service.queue.database import open_database
from service.queue.records import Job
from service.queue.repository import JobQueue
from service.queue.retry import RetryPolicy
from service.queue.tables import JobRow
from service.queue.transactions import Transactions
from service.settings import ServiceSettings
from tests.service.in_process import serving
from tests.service.tcp_proxy import TcpProxy, proxied
from tests.workers.conftest import Meanwhile, is_gone, scripted_worker, wait_until
from workers.attempt_folder import AttemptFolder, RunFolder
from workers.settings import WorkerSettings


@pytest.fixture
def way(postgres_url: str) -> Iterator[tuple[TcpProxy, str]]:
    """A way to an empty database that can be cut, and its URL."""
    engine = open_database(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE job, dataset CASCADE"))
    engine.dispose()
    with proxied(postgres_url) as made:
        yield made


@pytest.fixture
def queue(way: tuple[TcpProxy, str]) -> Iterator[JobQueue]:
    """By the way that can be cut."""
    engine = open_database(way[1])
    yield JobQueue(engine, retry=RetryPolicy(base_s=0))
    engine.dispose()


@pytest.fixture
def unharmed(postgres_url: str) -> Iterator[JobQueue]:
    """The same queue by another way, which stays open."""
    engine = open_database(postgres_url)
    yield JobQueue(engine, retry=RetryPolicy(base_s=0))
    engine.dispose()


@pytest.fixture
def settings(tmp_path: Path, way: tuple[TcpProxy, str]) -> WorkerSettings:
    return WorkerSettings(
        home=tmp_path,
        database_url=SecretStr(way[1]),
        heartbeat_interval_s=0.1,
        lease_s=10,
        progress_interval_s=0,
    )


@pytest.fixture
def job(queue: JobQueue) -> Job:
    return queue.enqueue(TrainSpec(preset="tiny").resolve(), idempotency_key=None, body_digest="")[0]


def attempt(settings: WorkerSettings, job: Job, number: int = 1) -> AttemptFolder:
    return RunFolder(settings.home, job.job_id).attempt(number)


def test_the_api_refuses_while_its_database_is_away_and_goes_on_when_it_is_back(
    way: tuple[TcpProxy, str], tmp_path: Path
) -> None:
    proxy, url = way
    app = create_app(ServiceSettings(home=tmp_path, database_url=SecretStr(url)))
    with serving(app) as transport, httpx.Client(transport=transport, base_url="http://localhost", timeout=60) as api:
        kept = api.post("/v1/jobs", json={"preset": "tiny"}, headers={"Idempotency-Key": "kept"})
        assert kept.status_code == 202
        proxy.cut()
        for answer in (api.post("/v1/jobs", json={"preset": "tiny"}), api.get("/v1/jobs"), api.get("/readyz")):
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"] == "5"
        assert api.get("/healthz").status_code == 200
        assert "sdcn_database_up 0.0" in api.get("/metrics").text
        proxy.restore()
        assert api.get("/readyz").status_code == 200
        again = api.post("/v1/jobs", json={"preset": "tiny"}, headers={"Idempotency-Key": "kept"})
        assert again.json()["id"] == kept.json()["id"]
        assert "sdcn_database_up 1.0" in api.get("/metrics").text


def test_an_attempt_outlives_a_database_that_is_away_for_less_than_a_lease(
    way: tuple[TcpProxy, str], queue: JobQueue, settings: WorkerSettings, job: Job
) -> None:
    proxy, _ = way
    child = """
say(kind="metrics", global_step=1, values={"loss/mil": 0.5})
(folder / "ready").touch()
wait_for((folder / "go").exists)
say(kind="metrics", global_step=2, values={"loss/mil": 0.25})
end(status="succeeded", results={"answer": 42})
"""
    folder = attempt(settings, job)

    def away_for_a_moment() -> None:
        proxy.cut()
        (folder.path / "go").touch()  # it ends while nobody can be told
        proxy_is_missed.wait()
        proxy.restore()

    proxy_is_missed = Missed(queue)
    cutting = Meanwhile(folder.path / "ready", away_for_a_moment)
    scripted_worker(queue, settings, child).run_once()
    cutting.join()
    ended = queue.get(job.job_id)
    assert (ended.state, ended.attempt, ended.results) == (JobState.SUCCEEDED, 1, {"answer": 42})
    assert ended.progress is not None
    assert ended.progress.metrics == {"loss/mil": 0.25}


def test_when_it_is_away_for_longer_the_child_is_ended_and_the_job_goes_on_in_a_next_attempt(
    way: tuple[TcpProxy, str], queue: JobQueue, unharmed: JobQueue, settings: WorkerSettings, job: Job
) -> None:
    proxy, _ = way
    folder = attempt(settings, job)
    child = """
if folder.name == "attempt-1":
    (folder / "pid").write_text(str(os.getpid()))
    (folder / "ready").touch()
    wait_for(lambda: False)
end(status="succeeded", results={"attempt": folder.name})
"""
    worker = scripted_worker(queue, settings.model_copy(update={"lease_s": 1.0}), child)
    cutting = Meanwhile(folder.path / "ready", proxy.cut)
    assert worker.run_once()
    cutting.join()
    assert is_gone(int((folder.path / "pid").read_text())), "its lease was over, so it had to end by itself"
    with pytest.raises(DatabaseUnavailable):
        worker.run_once()
    assert unharmed.get(job.job_id).state.is_leased, "nobody has told the queue yet"
    proxy.restore()
    wait_until(lambda: queue.rescue_lost() == [job.job_id])
    assert worker.run_once()
    ended = queue.get(job.job_id)
    assert (ended.state, ended.attempt, ended.results) == (JobState.SUCCEEDED, 2, {"attempt": "attempt-2"})
    assert ended.attempts[0].exit_reason is FailureReason.LOST_WORKER


def test_who_is_stopped_within_a_transaction_keeps_the_job_from_nobody_for_long(
    postgres_url: str, unharmed: JobQueue, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "IDLE_TRANSACTION_MS", 300)
    assert unharmed.claim("worker-a", lease_s=-1) is not None
    stopped = open_database(postgres_url)
    transaction = Transactions(stopped).writing()
    session, _ = transaction.__enter__()
    session.scalar(select(JobRow).where(JobRow.id == job.job_id).with_for_update())
    assert unharmed.rescue_lost() == [], "its row is locked"
    wait_until(lambda: unharmed.rescue_lost() == [job.job_id])
    with pytest.raises(DatabaseUnavailable):
        goes_on(transaction, session)
    stopped.dispose()


def goes_on(transaction: AbstractContextManager[object], session: Session) -> None:
    """As the block of the transaction would."""
    try:
        session.execute(select(1))
    except Exception as error:
        transaction.__exit__(type(error), error, error.__traceback__)
        raise


class Missed:
    """Waits until somebody has asked the queue in vain."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def wait(self) -> None:
        with pytest.raises(DatabaseUnavailable):
            self._queue.health()
