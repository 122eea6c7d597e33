"""A worker whose clock is an hour off: leases are ruled by the database's."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

import pytest
from sqlalchemy import Engine

from service.jobs.specs import TrainSpec
from service.jobs.states import JobState
from service.queue.records import Job
from service.queue.repository import JobQueue
from service.queue.retry import RetryPolicy
from tests.workers.conftest import scripted_worker
from workers import progress_pump
from workers.settings import WorkerSettings

HOUR_S = 3600.0
CHILD = """
say(kind="progress", stage="loop", step=5, stage_steps=10, fraction=0.5, global_step=5)
end(status="succeeded", results={})
"""


@pytest.fixture
def queue(engine: Engine) -> JobQueue:
    return JobQueue(engine, retry=RetryPolicy(base_s=0))


@pytest.fixture
def settings(tmp_path: Path) -> WorkerSettings:
    return WorkerSettings(home=tmp_path / "home", heartbeat_interval_s=0.05, lease_s=20, progress_interval_s=0)


@pytest.fixture
def job(queue: JobQueue) -> Job:
    return queue.enqueue(TrainSpec(preset="tiny").resolve(), idempotency_key=None, body_digest="")[0]


@pytest.fixture(params=[-HOUR_S, HOUR_S], ids=["slow", "fast"])
def wrong_clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> float:
    """This process's clock is off by so many seconds."""
    off_s: float = request.param
    right: Callable[[], int] = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: right() + round(off_s * 1e9))
    monkeypatch.setattr(time, "time", lambda: right() / 1e9 + off_s)
    monkeypatch.setattr(progress_pump, "datetime", _Off)
    _Off.seconds = off_s
    return off_s


class _Off(datetime):
    """What reads the clock past the module `time`."""

    seconds = 0.0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + timedelta(seconds=cls.seconds)


def test_a_worker_whose_clock_is_off_keeps_its_lease_and_its_job_is_told_at_the_right_time(
    queue: JobQueue, settings: WorkerSettings, job: Job, wrong_clock: float
) -> None:
    scripted_worker(queue, settings, CHILD).run_once()
    ended = queue.get(job.job_id)
    assert (ended.state, ended.attempt) == (JobState.SUCCEEDED, 1)
    assert ended.progress is not None
    assert ended.started_at is not None
    assert abs(ended.progress.updated_at - ended.started_at) < timedelta(seconds=60), "by one and the same clock"


def test_a_worker_whose_clock_is_off_takes_nothing_from_one_that_is_at_work(
    queue: JobQueue, settings: WorkerSettings, job: Job, wrong_clock: float
) -> None:
    claim = queue.claim("worker-b", lease_s=60)
    assert claim is not None
    assert not scripted_worker(queue, settings, CHILD).run_once()
    assert queue.get(job.job_id).attempts[-1].worker_id == "worker-b"


def test_a_clock_that_is_set_while_an_attempt_runs_costs_no_lease(
    queue: JobQueue, settings: WorkerSettings, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's own patience is counted by a clock that nobody sets."""
    worker = scripted_worker(queue, settings, CHILD)
    monkeypatch.setattr(time, "time", lambda: datetime(2100, 1, 1, tzinfo=UTC).timestamp())
    assert worker.run_once()
    assert queue.get(job.job_id).state is JobState.SUCCEEDED
