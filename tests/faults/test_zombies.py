"""A worker, or a training, that is stopped past its lease and goes on when another attempt has taken over: what it
still does reaches neither the database nor MLflow nor a checkpoint.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine

from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason, JobState
from service.queue.event_log import EventLog
from service.queue.records import Job
from service.queue.repository import JobQueue
from service.queue.retry import RetryPolicy
from service.run_files.checkpoints import checkpoint_name, newest_first
from tests.faults.stopped_training import run_path_of
from tests.faults.stopped_worker import log_of, settings_of, worker_elsewhere
from tests.workers.conftest import is_gone, scripted_worker, wait_until
from workers.attempt_folder import RunFolder
from workers.fence import seal_spools

PATIENCE_S = 120
LIVES_ON = """
spool = os.open(folder / "events.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def train(step, loss):
    event = {"kind": "metrics", "time_ms": 1000 + step, "global_step": step, "values": {"loss/mil": loss}}
    os.write(spool, (json.dumps(event) + "\\n").encode())
(folder / "pid").write_text(str(os.getpid()))
train(1, 1.0)
train(2, 0.5)
(folder / "ready").touch()
"""
"""a child that keeps its spool open, as the real one does"""
UNTIL_OTHERS_TRAIN = """
wait_for((folder.parent / "attempt-2" / "trained").exists)
for step in range(3, 9):
    train(step, 666.0)
(folder / "said").touch()
wait_for(lambda: False)
"""
TAKES_OVER = """
say(kind="resumed", global_step=2)
say(kind="metrics", global_step=3, values={"loss/mil": 0.25})
(folder / "trained").touch()
end(status="succeeded", results={"attempt": 2})
"""


@pytest.fixture
def queue(engine: Engine) -> JobQueue:
    return JobQueue(engine, retry=RetryPolicy(base_s=0))


@pytest.fixture
def job(queue: JobQueue) -> Job:
    return queue.enqueue(TrainSpec(preset="tiny").resolve(), idempotency_key=None, body_digest="")[0]


@pytest.fixture
def first(tmp_path: Path, job: Job) -> Path:
    """The folder of the attempt that will be stopped."""
    return RunFolder(tmp_path, job.job_id).attempt(1).path


def stop(worker: "subprocess.Popen[str]", database_url: str, *, when: Path) -> None:
    """Between two transactions: SQLite has one writer at a time, and waits for one that is stopped."""
    wait_until(lambda: when.exists() or worker.poll() is not None, PATIENCE_S)
    assert worker.poll() is None, worker.communicate()[0]
    os.kill(worker.pid, signal.SIGSTOP)
    while not is_free(database_url):
        os.kill(worker.pid, signal.SIGCONT)
        time.sleep(0.01)
        os.kill(worker.pid, signal.SIGSTOP)


def is_free(database_url: str) -> bool:
    """Whether nobody is writing; of PostgreSQL, where that matters less, it is not asked."""
    if not database_url.startswith("sqlite"):
        return True
    with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=0.2)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
    return True


def go_on(worker: "subprocess.Popen[str]") -> str:
    """Until it has ended; what it has said."""
    os.kill(worker.pid, signal.SIGCONT)
    said, _ = worker.communicate(timeout=PATIENCE_S)
    assert worker.returncode == 0, said
    return said


def take_over(queue: JobQueue, home: Path, job: Job) -> None:
    """The lease runs out, and another worker does the job."""
    wait_until(lambda: queue.rescue_lost() == [job.job_id], PATIENCE_S)
    scripted_worker(queue, settings_of(home), TAKES_OVER).run_once()
    assert queue.get(job.job_id).results == {"attempt": 2}


def test_a_worker_that_was_stopped_past_its_lease_writes_nothing_to_the_database(
    engine: Engine, database_url: str, queue: JobQueue, tmp_path: Path, job: Job, first: Path
) -> None:
    def all_that_is_known() -> object:
        return queue.get(job.job_id), EventLog(engine).page(job.job_id, after=0, limit=100), queue.workers()

    with worker_elsewhere(tmp_path, database_url, LIVES_ON + UNTIL_OTHERS_TRAIN) as worker:
        stop(worker, database_url, when=first / "ready")
        take_over(queue, tmp_path, job)
        wait_until((first / "said").exists)
        before = all_that_is_known()
        assert "job.lease_lost" in go_on(worker)
    assert all_that_is_known() == before
    assert is_gone(int((first / "pid").read_text()))


def test_what_the_child_of_a_stopped_worker_says_after_another_has_taken_over_never_reaches_mlflow(
    database_url: str, queue: JobQueue, tmp_path: Path, job: Job, first: Path
) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    with worker_elsewhere(tmp_path, database_url, LIVES_ON + UNTIL_OTHERS_TRAIN, uri) as worker:
        stop(worker, database_url, when=first / "ready")
        take_over(queue, tmp_path, job)
        wait_until((first / "said").exists)
        go_on(worker)
    settings = settings_of(tmp_path, uri)
    log = log_of(queue, settings)  # of a worker that finds what is left to deliver
    client = MlflowClient(tracking_uri=uri)
    wait_until(lambda: queue.get(job.job_id).tracking_run_id is not None, PATIENCE_S)
    run_id = str(queue.get(job.job_id).tracking_run_id)
    wait_until(lambda: client.get_run(run_id).info.status == "FINISHED", PATIENCE_S)
    log.close(timeout_s=PATIENCE_S)
    points = client.get_metric_history(run_id, "loss/mil")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (2, 0.5), (3, 0.25)]


def test_a_training_that_was_stopped_past_its_lease_writes_no_checkpoint_beside_a_newer_one(tmp_path: Path) -> None:
    run_path = run_path_of(tmp_path)
    checkpoints = run_path / "checkpoints"
    command = [sys.executable, "-m", "tests.faults.stopped_training", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as training:
        try:
            wait_until(lambda: bool(newest_first(checkpoints)) or training.poll() is not None, PATIENCE_S)
            assert training.poll() is None, training.communicate()[0]
            os.kill(training.pid, signal.SIGSTOP)
            (run_path / "attempt-2").mkdir()
            seal_spools(run_path, before=2)
            shutil.copytree(newest_first(checkpoints)[0], checkpoints / checkpoint_name(1000))
            before = kept_in(run_path)
            os.kill(training.pid, signal.SIGCONT)
            said, _ = training.communicate(timeout=PATIENCE_S)
        finally:
            training.kill()
    assert "AttemptSuperseded: attempt 1 has been taken over by a later one" in said
    assert kept_in(run_path) == before


def kept_in(run_path: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of every file that outlives an attempt."""
    files = [*run_path.glob("checkpoints/*/*"), *run_path.glob("artifacts/*"), *run_path.glob("*/events.jsonl")]
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def test_the_child_of_a_worker_that_is_stopped_ends_by_itself_when_the_lease_is_over(
    database_url: str, queue: JobQueue, tmp_path: Path, job: Job, first: Path
) -> None:
    script = "from workers.lease_watch import watch_lease\nwatch_lease()\n" + LIVES_ON + "wait_for(lambda: False)"
    with worker_elsewhere(tmp_path, database_url, script) as worker:
        stop(worker, database_url, when=first / "ready")
        wait_until(lambda: is_gone(int((first / "pid").read_text())), PATIENCE_S)
        go_on(worker)
    wait_until(lambda: bool(queue.rescue_lost()) or queue.get(job.job_id).state is JobState.RETRY_WAIT, PATIENCE_S)
    assert queue.get(job.job_id).attempts[0].exit_reason is FailureReason.LOST_WORKER
