"""A PostgreSQL that is stopped: what is sent to it is taken by the kernel, and nobody answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.engine import make_url

from service import app
from service.errors import DatabaseUnavailable
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason, JobState
from service.queue import postgresql
from service.queue.database import open_database
from service.queue.repository import JobQueue
from service.queue.retry import RetryPolicy
from service.settings import ServiceSettings
from tests.service.in_process import serving
from tests.workers.conftest import Meanwhile, is_gone, scripted_worker, wait_until
from workers.attempt_folder import RunFolder
from workers.settings import WorkerSettings

ANSWER_TIMEOUT_S = 1.0


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """libpq takes two seconds at least."""
    monkeypatch.setitem(postgresql.SILENCE, "connect_timeout", 2)


@pytest.fixture
def queue(postgres_url: str) -> Iterator[JobQueue]:
    engine = open_database(postgres_url, answer_timeout_s=ANSWER_TIMEOUT_S)
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE job, dataset CASCADE"))
    yield JobQueue(engine, retry=RetryPolicy(base_s=0))
    engine.dispose()


@contextmanager
def stopped(server_url: str) -> Iterator[None]:
    """All processes of the server."""
    folder = Path(str(make_url(server_url).query["host"]))
    first = psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))
    processes = [first, *first.children()]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def test_who_asks_a_stopped_server_is_refused_and_then_served_when_it_goes_on(
    postgres_url: str, queue: JobQueue
) -> None:
    job, _ = queue.enqueue(TrainSpec(preset="tiny").resolve(), idempotency_key=None, body_digest="")
    with stopped(postgres_url), pytest.raises(DatabaseUnavailable):
        queue.get(job.job_id)
    assert queue.get(job.job_id) == job


def test_the_api_refuses_within_its_patience_while_the_server_is_stopped(
    postgres_url: str, queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "open_database", partial(open_database, answer_timeout_s=ANSWER_TIMEOUT_S))
    settings = ServiceSettings(home=tmp_path, database_url=SecretStr(postgres_url))
    with (
        serving(app.create_app(settings)) as transport,
        httpx.Client(transport=transport, base_url="http://localhost", timeout=60) as api,
    ):
        assert api.get("/v1/jobs").status_code == 200
        with stopped(postgres_url):
            for answer in (api.post("/v1/jobs", json={"preset": "tiny"}), api.get("/v1/jobs")):
                assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert api.post("/v1/jobs", json={"preset": "tiny"}).status_code == 202


def test_a_worker_whose_server_is_stopped_ends_its_attempt_and_takes_the_job_up_again_when_it_goes_on(
    postgres_url: str, queue: JobQueue, tmp_path: Path
) -> None:
    settings = WorkerSettings(home=tmp_path, heartbeat_interval_s=0.1, lease_s=1, progress_interval_s=0)
    job, _ = queue.enqueue(TrainSpec(preset="tiny").resolve(), idempotency_key=None, body_digest="")
    first = RunFolder(tmp_path, job.job_id).attempt(1).path
    child = """
if folder.name == "attempt-1":
    (folder / "pid").write_text(str(os.getpid()))
    (folder / "ready").touch()
    while True:
        say(kind="progress", stage="loop", step=1, stage_steps=2, fraction=0.5, global_step=1)
        time.sleep(0.05)
end(status="succeeded", results={"attempt": folder.name})
"""
    worker = scripted_worker(queue, settings, child)
    frozen = stopped(postgres_url)
    stopping = Meanwhile(first / "ready", frozen.__enter__)
    try:
        assert worker.run_once()
        assert is_gone(int((first / "pid").read_text()))
        with pytest.raises(DatabaseUnavailable):
            worker.run_once()
    finally:
        stopping.join()
        frozen.__exit__(None, None, None)
    wait_until(lambda: queue.rescue_lost() == [job.job_id])
    assert worker.run_once()
    ended = queue.get(job.job_id)
    assert (ended.state, ended.results) == (JobState.SUCCEEDED, {"attempt": "attempt-2"})
    assert ended.attempts[0].exit_reason is FailureReason.LOST_WORKER
