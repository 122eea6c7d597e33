import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.checkpoint_storage import CheckpointStorage
from service.jobs.states import JobState
from service.queue.records import Job, Settlement
from service.queue.repository import JobQueue
from tests.workers.conftest import LaterClock, wait_until
from workers.attempt_folder import AttemptFolder, RunFolder
from workers.errors import TrackingUnavailable
from workers.leftovers import Leftovers
from workers.reconciler import TASK, Reconciler, Step
from workers.tracking.experiment_log import NullLog


class Forgetful(NullLog):
    """Remembers what it was to forget; away when told so."""

    def __init__(self) -> None:
        self.away = False
        self.forgotten: list[str] = []

    def forget(self, job_id: str) -> None:
        if self.away:
            raise TrackingUnavailable("away")
        self.forgotten.append(job_id)


@pytest.fixture
def records() -> Forgetful:
    return Forgetful()


@pytest.fixture
def storage(tmp_path: Path) -> CheckpointStorage:
    return CheckpointStorage(tmp_path / "home" / "runs")


@pytest.fixture
def left(queue: JobQueue, records: Forgetful, storage: CheckpointStorage) -> Callable[..., Leftovers]:
    return lambda **changes: Leftovers(queue, records, storage, **{"checkpoint_retention_s": None} | changes)


def end(queue: JobQueue, settlement: Settlement) -> None:
    claim = queue.claim("w", lease_s=60)
    assert claim is not None
    queue.start(claim)
    queue.settle(claim, settlement)


def test_a_worker_at_work_still_looks_after_the_jobs_of_dead_ones(queue: JobQueue, submit: Callable[..., Job]) -> None:
    job = submit()
    queue.claim("worker-that-died", lease_s=-1)
    with Reconciler(queue, "worker-a", interval_s=0.01):
        wait_until(lambda: queue.get(job.job_id).state is not JobState.CLAIMED)
        assert queue.get(job.job_id).state is JobState.RETRY_WAIT


def test_one_worker_at_a_time_is_elected_and_another_after_it_left(queue: JobQueue) -> None:
    rounds: list[str] = []
    first = Reconciler(queue, "a", interval_s=60, steps=(Step("told", lambda: rounds.append("a")),))
    second = Reconciler(queue, "b", interval_s=60, steps=(Step("told", lambda: rounds.append("b")),))
    assert first.round()
    assert not second.round()
    queue.resign(TASK, "a")
    assert second.round()
    assert rounds == ["a", "b"]


def test_one_that_died_is_followed_when_its_lease_has_run_out(queue: JobQueue, engine: Engine) -> None:
    assert queue.lead(TASK, "dead", lease_s=30)
    assert not queue.lead(TASK, "heir", lease_s=30)
    assert JobQueue(engine, clock=LaterClock(31)).lead(TASK, "heir", lease_s=30)
    assert not queue.lead(TASK, "dead", lease_s=30)


def test_a_step_that_fails_keeps_no_other_from_being_done(queue: JobQueue) -> None:
    done = threading.Event()

    def fail() -> None:
        raise RuntimeError("a defect")

    reconciler = Reconciler(queue, "a", interval_s=60, steps=(Step("broken", fail), Step("whole", done.set)))
    assert reconciler.round()
    assert done.is_set()


def test_a_step_is_left_out_until_it_is_due_again(queue: JobQueue) -> None:
    now, done = [0.0], []
    steps = (Step("seldom", lambda: done.append(now[0]), every_s=60),)
    reconciler = Reconciler(queue, "a", interval_s=5, steps=steps, monotonic=lambda: now[0])
    for now[0] in (0.0, 59.0, 60.0, 61.0):
        reconciler.round()
    assert done == [0.0, 60.0]


def test_of_a_deleted_job_nothing_is_left(
    queue: JobQueue, submit: Callable[..., Job], left: Callable[..., Leftovers], records: Forgetful, tmp_path: Path
) -> None:
    job = submit()
    end(queue, Settlement.succeeded({}))
    folder = RunFolder(tmp_path / "home", job.job_id).artifacts
    folder.mkdir(parents=True)
    queue.delete(job.job_id)
    records.away = True
    with pytest.raises(TrackingUnavailable):
        left().remove_deleted()
    assert not folder.parent.exists()
    assert len(queue.deletions()) == 1  # MLflow has not forgotten it yet
    records.away = False
    assert left().remove_deleted() == [job.job_id]
    assert (records.forgotten, queue.deletions()) == ([job.job_id], ())


def test_checkpoints_of_a_success_go_when_their_time_is_over(
    queue: JobQueue, submit: Callable[..., Job], left: Callable[..., Leftovers], tmp_path: Path
) -> None:
    succeeded, failed = submit(), submit()
    kept = []
    for job in (succeeded, failed):
        run = RunFolder(tmp_path / "home", job.job_id)
        for folder in (run.path / "step-000000004-ab", run.path / "checkpoints" / "step-000000004-ab"):
            folder.mkdir(parents=True)
            kept.append(folder)
    end(queue, Settlement.succeeded({}))
    queue.request_cancel(failed.job_id)
    for retention_s in (None, 3600):
        assert left(checkpoint_retention_s=retention_s).thin_checkpoints() == []
    assert left(checkpoint_retention_s=0).thin_checkpoints() == [succeeded.job_id]
    assert [folder.exists() for folder in kept] == [False, False, True, True]


class TestInAStore:
    @pytest.fixture
    def storage(self, tmp_path: Path, bucket_url: str) -> CheckpointStorage:
        return CheckpointStorage(tmp_path / "home" / "runs", bucket_url)

    def test_the_checkpoints_go_with_their_deleted_job(
        self, queue: JobQueue, submit: Callable[..., Job], left: Callable[..., Leftovers], storage: CheckpointStorage
    ) -> None:
        deleted, other = submit(), submit()
        places = [storage.of(storage.runs / job.job_id) for job in (deleted, other)]
        for place in places:
            (place / "step-000000004-ab" / "checkpoint.pt").write_bytes(b"weights")
        queue.request_cancel(deleted.job_id)
        queue.delete(deleted.job_id)
        assert left().remove_deleted() == [deleted.job_id]
        assert [place.exists() for place in places] == [False, True]

    def test_the_checkpoints_of_a_success_go_when_their_time_is_over(
        self, queue: JobQueue, submit: Callable[..., Job], left: Callable[..., Leftovers], storage: CheckpointStorage
    ) -> None:
        succeeded, failed = submit(), submit()
        places = [
            storage.of(storage.runs / job.job_id) / f"{below}step-000000004-ab"
            for job in (succeeded, failed)
            for below in ("", "checkpoints/", "runs/sdcn-seed0/checkpoints/")
        ]
        for place in places:
            (place / "checkpoint.pt").write_bytes(b"weights")
        end(queue, Settlement.succeeded({}))
        queue.request_cancel(failed.job_id)
        assert left(checkpoint_retention_s=0).thin_checkpoints() == [succeeded.job_id]
        assert [place.exists() for place in places] == 3 * [False] + 3 * [True]


def test_what_attempts_of_dead_workers_hold_in_a_cluster_is_given_back_once(
    queue: JobQueue,
    submit: Callable[..., Job],
    left: Callable[..., Leftovers],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = submit()
    queue.claim("worker-that-died", lease_s=-1)
    folder = RunFolder(tmp_path / "home", job.job_id).attempt(1)
    folder.path.mkdir(parents=True)
    folder.ray_job.write_text("01000000")
    answers, asked = iter([False, True]), []

    def remove(attempt: AttemptFolder) -> bool:
        asked.append(attempt.number)
        return next(answers)

    monkeypatch.setattr("workers.orphans._nothing_is_reserved", remove)
    left().free_clusters()
    assert asked == [], "its lease has not been taken away yet"
    queue.rescue_lost()
    for _ in range(3):  # Ray does not answer; then it does; then nothing is left to ask
        left().free_clusters()
    assert asked == [1, 1]
