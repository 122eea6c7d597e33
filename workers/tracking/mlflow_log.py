"""Runs recorded in MLflow by one thread, for which neither training nor the queue waits."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from service.errors import DatabaseUnavailable
from service.queue.records import Claim
from service.queue.repository import JobQueue
from workers.attempt_folder import attempts_in
from workers.errors import TrackingUnavailable
from workers.tracking.tracked_run import describe

if TYPE_CHECKING:
    from workers.tracking.delivery import Destination, Verdict

log = structlog.get_logger()

CLIENT_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # its default keeps a caller waiting four minutes for a dead server
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
PASS_INTERVAL_S = 1.0
LEFTOVERS_INTERVAL_S = 30.0
LONGEST_PAUSE_S = 60.0
"""between two tries of a server that does not answer"""
LONGEST_JOB_PAUSE_S = 600.0
"""between two tries of a job that the server, or its own files, cannot have delivered"""

_IMPORTING = threading.Lock()


class QueueJobs:
    """The queue, as delivery sees it."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    def verdict(self, job_id: str) -> "Verdict | None":
        from workers.tracking.delivery import Verdict

        job = self._queue.get(job_id)
        if not job.state.is_terminal:
            return None
        failure = None if job.failure is None else f"{job.failure.reason}: {job.failure.message}"
        return Verdict(job.state, _milliseconds(job.ended_at or job.updated_at), failure, job.tracking_run_id)

    def attach(self, job_id: str, run_id: str) -> str:
        return self._queue.attach_tracking(job_id, run_id)


class MlflowLog:
    """See ExperimentLog. Also delivers what workers that died have left on this storage."""

    def __init__(self, queue: JobQueue, *, runs: Path, tracking_uri: str, experiment: str, artifacts: Path) -> None:
        self._jobs = QueueJobs(queue)
        self._runs = runs.resolve()
        self._tracking_uri = tracking_uri
        self._experiment = experiment
        self._artifacts = artifacts
        self._changed = threading.Condition()
        self._active: set[str] = set()
        self._awaited: dict[str, list[_Wait]] = {}
        self._closing = False
        self._troubles: dict[str, _Trouble] = {}
        self._destination: Destination | None = None
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def begin(self, claim: Claim, run_path: Path) -> None:
        describe(claim, run_path)
        with self._changed:
            self._active.add(claim.job_id)
            self._changed.notify_all()

    def flush(self, job_id: str, *, timeout_s: float) -> bool:
        wait = _Wait()
        with self._changed:
            self._awaited.setdefault(job_id, []).append(wait)
            self._changed.notify_all()
        return wait.done.wait(timeout_s) and wait.delivered

    def ended(self, job_id: str) -> None:
        with self._changed:
            self._active.discard(job_id)
            self._awaited.setdefault(job_id, []).append(_Wait())  # one more pass, for which nobody waits
            self._changed.notify_all()

    def close(self, *, timeout_s: float) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)

    def forget(self, job_id: str) -> None:
        import_mlflow()
        from workers.tracking.closing import delete_runs

        with _mlflow_asked():
            delete_runs(self._connect(), job_id)

    def close_left_open(self) -> list[str]:
        import_mlflow()
        from workers.tracking.closing import close_left_open

        with _mlflow_asked():
            return close_left_open(self._connect(), self._jobs, self._runs)

    # --- the thread

    def _run(self) -> None:
        failures = 0
        leftovers_at_s = time.monotonic()  # at the start: a worker that was restarted finds its own
        while True:
            with self._changed:
                if not self._awaited and not self._closing:
                    self._changed.wait(_pause_s(failures, LONGEST_PAUSE_S))
                awaited, self._awaited = self._awaited, {}
                active = set(self._active)
                closing = self._closing
            jobs = active | set(awaited)
            if time.monotonic() >= leftovers_at_s:
                leftovers_at_s = time.monotonic() + LEFTOVERS_INTERVAL_S
                jobs |= {path.parent.parent.name for path in self._runs.glob("*/tracking/run.json")}
            outcomes = set()
            for job_id in sorted(jobs, key=lambda job_id: (job_id not in awaited, self._failures(job_id))):
                if job_id not in awaited and not closing and not self._is_due(job_id):
                    continue
                outcome = self._deliver(job_id)
                outcomes.add(outcome)
                for wait in awaited.get(job_id, ()):
                    wait.delivered = outcome is _Outcome.DELIVERED
                    wait.done.set()
                if outcome is _Outcome.AWAY and job_id not in awaited:
                    break  # do not ask for each of a hundred runs; the next pass begins with another
            if outcomes:
                failures = failures + 1 if outcomes == {_Outcome.AWAY} else 0
            if closing:
                return

    def _failures(self, job_id: str) -> int:
        return self._troubles[job_id].failures if job_id in self._troubles else 0

    def _is_due(self, job_id: str) -> bool:
        return job_id not in self._troubles or time.monotonic() >= self._troubles[job_id].not_before_s

    def _deliver(self, job_id: str) -> "_Outcome":
        """Deliver all that is known of the job so far, and remember where that failed."""
        with structlog.contextvars.bound_contextvars(job_id=job_id, **_newest_attempt(self._runs / job_id)):
            return self._deliver_named(job_id)

    def _deliver_named(self, job_id: str) -> "_Outcome":
        try:
            import_mlflow()
            from workers.tracking.delivery import deliver

            if self._destination is None:
                self._destination = self._connect()
            deliver(self._runs / job_id, self._destination, self._jobs)
        except Exception as error:  # whatever it is, it stays on disk and training goes on
            away = isinstance(error, TrackingUnavailable | DatabaseUnavailable)
            failures = self._failures(job_id) + 1
            pause_s = _pause_s(failures, LONGEST_PAUSE_S if away else LONGEST_JOB_PAUSE_S)
            self._troubles[job_id] = _Trouble(failures, time.monotonic() + pause_s)
            log.warning("tracking.not_delivered", error=type(error).__name__, reason=str(error)[:300])
            return _Outcome.AWAY if away else _Outcome.FAILED
        self._troubles.pop(job_id, None)
        return _Outcome.DELIVERED

    def _connect(self) -> "Destination":
        from mlflow.tracking import MlflowClient

        from workers.tracking.delivery import Destination

        remote = self._tracking_uri.startswith(("http://", "https://"))
        return Destination(
            client=MlflowClient(tracking_uri=self._tracking_uri),
            experiment=self._experiment,
            artifact_location=None if remote else self._artifacts.resolve().as_uri(),
        )


def import_mlflow() -> None:
    """Import what speaks to MLflow, which takes seconds, once and told how; any thread that is about to needs this.

    Two threads that import MLflow at once find modules that the other has half made, and from then on neither has it.
    """
    with _IMPORTING:
        for name, value in CLIENT_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import workers.tracking.closing
        import workers.tracking.delivery  # noqa: F401


@contextmanager
def _mlflow_asked() -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    try:
        yield
    except (MlflowException, RequestException, ConnectionError, TimeoutError) as error:
        raise TrackingUnavailable(str(error)) from error


class _Outcome(Enum):
    """Of one delivery."""

    DELIVERED = auto()
    AWAY = auto()
    """the server, or the queue's database: nobody's can be delivered now"""
    FAILED = auto()
    """something of this job alone"""


@dataclass(frozen=True)
class _Trouble:
    """Of a job whose last deliveries failed."""

    failures: int
    not_before_s: float


class _Wait:
    """Somebody who waits for a pass over a run."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.delivered = False


def _pause_s(failures: int, longest_s: float) -> float:
    return min(longest_s, PASS_INTERVAL_S * 2 ** min(failures, 16))  # of 1024 no float could be made


def _newest_attempt(run_path: Path) -> dict[str, int]:
    """For the log: the attempt whose words are delivered, where there is one."""
    folders = attempts_in(run_path)
    return {"attempt": folders[-1].number} if folders else {}


def _milliseconds(time_: datetime) -> int:
    return round(time_.timestamp() * 1000)
