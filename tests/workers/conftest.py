"""What the tests of the workers share: the real queue on SQLite, and a worker whose child is a small script."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
from sqlalchemy import ColumnElement, Engine

from service.jobs.specs import TrainSpec
from service.queue.database import DatabaseClock, open_database
from service.queue.migrations import upgrade
from service.queue.records import Job
from service.queue.repository import JobQueue
from service.queue.retry import RetryPolicy
from workers.attempt_folder import AttemptFolder, RunFolder
from workers.settings import WorkerSettings
from workers.supervisor import Supervisor
from workers.tracking.experiment_log import ExperimentLog, NullLog

CHILD_PRELUDE = """
import json, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
def say(**event):
    with (folder / "events.jsonl").open("a") as spool:
        spool.write(json.dumps({"time_ms": time.time_ns() // 1_000_000, **event}) + "\\n")
def end(**outcome):
    (folder / "outcome.json").write_text(json.dumps(outcome))
def wait_for(condition):
    while not condition():
        time.sleep(0.01)
"""


class LaterClock:
    """The database's clock, some seconds ahead."""

    def __init__(self, seconds: int) -> None:
        self._ahead_ms = seconds * 1000

    def now_ms(self, dialect: str) -> ColumnElement[int]:
        return DatabaseClock().now_ms(dialect) + self._ahead_ms


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    url = f"sqlite:///{tmp_path / 'home' / 'queue.db'}"
    upgrade(url)
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def queue(engine: Engine) -> JobQueue:
    return JobQueue(engine, retry=RetryPolicy(base_s=0))


@pytest.fixture
def later_queue(engine: Engine) -> JobQueue:
    """The same queue as somebody sees it after every lease of now has run out."""
    return JobQueue(engine, clock=LaterClock(3600), retry=RetryPolicy(base_s=0))


@pytest.fixture
def settings(tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(
        home=tmp_path / "home",
        heartbeat_interval_s=0.05,
        lease_s=20,
        progress_interval_s=0,
        stop_grace_s=10,
        interrupt_grace_s=10,
        poll_interval_s=0.01,
    )


@pytest.fixture
def submit(queue: JobQueue) -> Callable[..., Job]:
    def submit_job(**fields: object) -> Job:
        spec = TrainSpec.model_validate({"preset": "tiny", **fields}).resolve()
        return queue.enqueue(spec, idempotency_key=None, body_digest="")[0]

    return submit_job


@pytest.fixture
def attempt(settings: WorkerSettings) -> Callable[..., AttemptFolder]:
    return lambda job, number=1: RunFolder(settings.home, job.job_id).attempt(number)


def scripted(script: str) -> Callable[[Path, int], Sequence[str]]:
    """A child that does what the script says, with `folder`, `say`, `end` and `wait_for` at hand."""

    def command(folder: Path, _parent_pid: int) -> Sequence[str]:
        return [sys.executable, "-c", CHILD_PRELUDE + script, str(folder)]

    return command


@pytest.fixture
def worker(queue: JobQueue, settings: WorkerSettings) -> Callable[..., Supervisor]:
    def make(script: str, *, experiment_log: ExperimentLog | None = None, **changes: object) -> Supervisor:
        drain = changes.pop("drain", threading.Event())
        assert isinstance(drain, threading.Event)
        changed = settings.model_copy(update=changes)
        return scripted_worker(queue, changed, script, experiment_log=experiment_log, drain=drain)

    return make


def scripted_worker(
    queue: JobQueue,
    settings: WorkerSettings,
    script: str,
    *,
    experiment_log: ExperimentLog | None = None,
    drain: threading.Event | None = None,
) -> Supervisor:
    """A worker whose child is the script."""
    return Supervisor(
        settings,
        queue,
        experiment_log or NullLog(),
        worker_id="worker-a",
        pid=0,
        drain=drain or threading.Event(),
        command=scripted(script),
    )


class Meanwhile:
    """Does something on another thread when a file has appeared; what it raised fails the test."""

    def __init__(self, file: Path, action: Callable[[], object]) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(file, action))
        self._thread.start()

    def _run(self, file: Path, action: Callable[[], object]) -> None:
        try:
            wait_until(file.exists)
            action()
        except BaseException as error:  # told by join
            self._error = error

    def join(self) -> None:
        self._thread.join()
        if self._error is not None:
            raise self._error


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def is_gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has reaped yet has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
