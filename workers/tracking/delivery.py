"""A job's run, and the runs of its study, delivered to MLflow: written as far as their spools go, closed as they ended.

A file lock keeps two workers from delivering one job at the same time.
"""

import fcntl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

import structlog
from mlflow.exceptions import MlflowException
from requests import HTTPError, RequestException

from service.errors import JobNotFound
from service.jobs.states import JobState
from workers.errors import TrackingUnavailable
from workers.tracking.model_registry import PASSING, register_model
from workers.tracking.run_writer import DeliveryState, Destination, RunWriter
from workers.tracking.study_runs import deliver_runs
from workers.tracking.tracked_run import FAILURE_TAG, RUN_TAG, STATE_TAG, TrackedRun, TrackingFiles

__all__ = ["DeliveryState", "Destination", "Jobs", "Verdict", "deliver"]

log = structlog.get_logger()

STATUS: Mapping[JobState, str] = {
    JobState.SUCCEEDED: "FINISHED",
    JobState.FAILED: "FAILED",
    JobState.CANCELLED: "KILLED",
}


@dataclass(frozen=True)
class Verdict:
    """How a job ended."""

    state: JobState
    ended_at_ms: int
    failure: str | None
    run_id: str | None
    """the run that the job is tied to; None: to none yet"""


class Jobs(Protocol):
    """What delivery asks of the queue."""

    def verdict(self, job_id: str) -> Verdict | None:
        """How the job ended; None while it has not.

        Raises:
            JobNotFound: the queue has no such job.
        """
        ...

    def attach(self, job_id: str, run_id: str) -> str:
        """Tie the job to a run, once; the run it is tied to."""
        ...


def deliver(run_path: Path, destination: Destination, jobs: Jobs) -> bool:
    """Deliver what is new of one job, and close its runs when they are over; whether nothing is left to come.

    Raises:
        TrackingUnavailable: MLflow is away; call again later, for other jobs too.
        MlflowException, OSError, ServiceError, ValidationError: not all of this job could be delivered, or ever can.
    """
    try:
        return _deliver(run_path, destination, jobs)
    except MlflowException as error:
        if error.error_code in PASSING:
            raise TrackingUnavailable(str(error)) from error
        raise
    except (ConnectionError, TimeoutError, RequestException) as error:
        answer = error.response if isinstance(error, HTTPError) else None  # to an upload
        if answer is not None and answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise
        raise TrackingUnavailable(str(error)) from error


def _deliver(run_path: Path, destination: Destination, jobs: Jobs) -> bool:
    if not run_path.is_dir():
        return True  # the job was deleted
    files = TrackingFiles(run_path)
    with _alone(files.lock) as alone:
        if not alone:
            return False
        try:
            tracked = TrackedRun.model_validate_json(files.run.read_bytes())
        except FileNotFoundError:
            return True
        try:
            verdict = jobs.verdict(tracked.job_id)  # before the spools: a job that is over says no more
        except JobNotFound:
            return False  # another database's job: its own workers know
        writer = RunWriter(run_path, tracked, destination)
        if not writer.state.deleted:
            run_id = writer.state.run_id or _open(writer, jobs)
            if not _write_unless_deleted(run_path, writer, run_id, verdict):
                return False
        files.run.replace(files.delivered)
        return True


def _write_unless_deleted(run_path: Path, writer: RunWriter, run_id: str, verdict: Verdict | None) -> bool:
    """Whether nothing is left to come: the job has ended, or somebody has deleted its run."""
    try:
        return _write(run_path, writer, run_id, verdict)
    except MlflowException as error:
        if not writer.is_deleted(run_id, error):
            raise
    ended_at_ms = round(time.time() * 1000) if verdict is None else verdict.ended_at_ms
    deliver_runs(run_path, writer, run_id, job_ended_at_ms=ended_at_ms)  # leaves none of a study's runs open
    writer.remember(deleted=True)
    log.warning("tracking.run_deleted", job_id=writer.tracked.job_id, run_id=run_id)
    return True


def _write(run_path: Path, writer: RunWriter, run_id: str, verdict: Verdict | None) -> bool:
    if verdict is None and writer.state.closed:
        writer.client.update_run(run_id, status="RUNNING")
        for tag in (STATE_TAG, FAILURE_TAG):
            writer.client.delete_tag(run_id, tag)
        writer.remember(closed=False)
    writer.write(run_id)
    deliver_runs(run_path, writer, run_id, job_ended_at_ms=None if verdict is None else verdict.ended_at_ms)
    if verdict is None:
        return False
    writer.set_tag(run_id, STATE_TAG, verdict.state.value)
    if verdict.failure is not None:
        writer.set_tag(run_id, FAILURE_TAG, verdict.failure)
    writer.client.set_terminated(run_id, status=STATUS[verdict.state], end_time=verdict.ended_at_ms)
    writer.remember(closed=True)
    if verdict.state is JobState.SUCCEEDED:
        register_model(run_path, writer, run_id)
    return True


def _open(writer: RunWriter, jobs: Jobs) -> str:
    tracked = writer.tracked
    run_id = writer.find_or_create(
        run_name=f"{tracked.name}-{tracked.job_id}", others=f"tags.`{RUN_TAG}` IS NULL", tags={}
    )
    run_id = jobs.attach(tracked.job_id, run_id)
    writer.remember(run_id=run_id)
    return run_id


@contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    """Whether this process may deliver the job; the kernel frees the lock when the process dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
