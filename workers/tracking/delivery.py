"""One run's spools delivered to MLflow: at least once, in order, each point visible once.

Everything that is needed lies in the run's folder, so any worker on this storage can go on where another ended; a file
lock keeps two from doing it at the same time. A point that is sent twice has the same time and MLflow keeps one; steps
that training replays after a resume are passed over, because each metric only goes forward.
"""

import fcntl
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import structlog
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_ALREADY_EXISTS, ErrorCode
from mlflow.tracking import MlflowClient
from pydantic import BaseModel

from service.jobs.states import JobState
from workers.attempt_folder import AttemptFolder, write_atomically
from workers.errors import TrackingUnavailable
from workers.spool import Event, FileEvent, MetricsEvent, SpoolReader
from workers.tracking.experiment_log import (
    ATTEMPT_TAG,
    DIGEST_TAG,
    FAILURE_TAG,
    JOB_TAG,
    NAME_TAG,
    STATE_TAG,
    TrackedRun,
    TrackingFiles,
)

log = structlog.get_logger()

Item = TypeVar("Item")

METRICS_PER_BATCH = 1000
PARAMETERS_PER_BATCH = 100
PARAMETER_LENGTH = 6000
TAG_LENGTH = 5000
UPLOAD_LIMIT_BYTES = 64 * 2**20
"""larger files stay in the run's folder; the weights of a large network are no business of a tracking server"""

STATUS: Mapping[JobState, str] = {
    JobState.SUCCEEDED: "FINISHED",
    JobState.FAILED: "FAILED",
    JobState.CANCELLED: "KILLED",
}


class DeliveryState(BaseModel):
    """How far a run has been delivered."""

    run_id: str | None = None
    described: bool = False
    """whether its parameters are recorded"""
    attempt: int = 0
    """the last one of which something was delivered"""
    offsets: dict[int, int] = {}
    """bytes of each attempt's spool that are delivered"""
    last_steps: dict[str, int] = {}
    """newest step of each metric"""


@dataclass(frozen=True)
class Verdict:
    """How a job ended."""

    state: JobState
    ended_at_ms: int
    failure: str | None


class Jobs(Protocol):
    """What delivery asks of the queue."""

    def verdict(self, job_id: str) -> Verdict | None:
        """How the job ended; None while it has not."""
        ...

    def attach(self, job_id: str, run_id: str) -> str:
        """Tie the job to a run, once; the run it is tied to."""
        ...


@dataclass(frozen=True)
class Destination:
    client: MlflowClient
    experiment: str
    artifact_location: str | None
    """of a new experiment; None leaves it to the server"""

    def experiment_id(self) -> str:
        """The experiment by name, made if there is none.

        Raises:
            TrackingUnavailable: somebody has deleted it.
        """
        found = self.client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                return str(self.client.create_experiment(self.experiment, artifact_location=self.artifact_location))
            except MlflowException as error:
                if error.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                    raise
                found = self.client.get_experiment_by_name(self.experiment)  # another worker was faster
        if found is None or found.lifecycle_stage != "active":
            raise TrackingUnavailable(
                f"MLflow's experiment {self.experiment!r} is deleted: restore it or name another in"
                " SDCN_MLFLOW_EXPERIMENT"
            )
        return str(found.experiment_id)


def deliver(run_path: Path, destination: Destination, jobs: Jobs) -> bool:
    """Deliver what is new of one run, and close it when its job is over; whether nothing is left to come.

    Raises:
        MlflowException, OSError, TrackingUnavailable, ServiceError: not all could be delivered; call again later.
    """
    files = TrackingFiles(run_path)
    with _alone(files.lock) as alone:
        if not alone:
            return False
        try:
            tracked = TrackedRun.model_validate_json(files.run.read_bytes())
        except FileNotFoundError:
            return True
        return _Delivery(run_path, files, tracked, destination, jobs).run()


class _Delivery:
    """One pass over one run."""

    def __init__(
        self, run_path: Path, files: TrackingFiles, tracked: TrackedRun, destination: Destination, jobs: Jobs
    ) -> None:
        self._files = files
        self._tracked = tracked
        self._destination = destination
        self._client = destination.client
        self._jobs = jobs
        self._attempts = sorted(
            (AttemptFolder(path) for path in run_path.glob("attempt-*")), key=lambda folder: folder.number
        )
        try:
            self._state = DeliveryState.model_validate_json(files.state.read_bytes())
        except FileNotFoundError:
            self._state = DeliveryState()

    def run(self) -> bool:
        verdict = self._jobs.verdict(self._tracked.job_id)  # before the spools: a job that is over says no more
        run_id = self._state.run_id or self._open_run()
        if not self._state.described:
            self._describe(run_id)
        for folder in self._attempts:
            self._deliver_spool(run_id, folder)
        if verdict is None:
            return False
        self._client.set_tag(run_id, STATE_TAG, verdict.state.value)
        if verdict.failure is not None:
            self._client.set_tag(run_id, FAILURE_TAG, verdict.failure[:TAG_LENGTH])
        self._client.set_terminated(run_id, status=STATUS[verdict.state], end_time=verdict.ended_at_ms)
        self._files.run.replace(self._files.delivered)
        return True

    def _open_run(self) -> str:
        """The job's run: the one an earlier delivery made and could not remember, or a new one."""
        tracked = self._tracked
        experiment_id = self._destination.experiment_id()
        found = self._client.search_runs([experiment_id], f"tags.`{JOB_TAG}` = '{tracked.job_id}'", max_results=1)
        if found:
            run_id = found[0].info.run_id
        else:
            tags = {JOB_TAG: tracked.job_id, NAME_TAG: tracked.name, DIGEST_TAG: tracked.config_digest}
            created = self._client.create_run(
                experiment_id, start_time=tracked.created_at_ms, tags=tags, run_name=f"{tracked.name}-{tracked.job_id}"
            )
            run_id = created.info.run_id
        run_id = self._jobs.attach(tracked.job_id, run_id)
        self._remember(run_id=run_id)
        return run_id

    def _describe(self, run_id: str) -> None:
        parameters = [
            Param(name, value[:PARAMETER_LENGTH] or "-") for name, value in sorted(self._tracked.parameters.items())
        ]
        for batch in _batches(parameters, PARAMETERS_PER_BATCH):
            self._client.log_batch(run_id, params=batch)
        self._remember(described=True)

    def _deliver_spool(self, run_id: str, folder: AttemptFolder) -> None:
        reader = SpoolReader(folder.events, self._state.offsets.get(folder.number, 0))
        while events := reader.read():
            if folder.number > self._state.attempt:
                self._client.set_tag(run_id, ATTEMPT_TAG, str(folder.number))
                self._client.update_run(run_id, status="RUNNING")
            last_steps = dict(self._state.last_steps)
            for batch in _batches(_new_points(events, last_steps), METRICS_PER_BATCH):
                self._log_metrics(run_id, batch)
            for event in events:
                if isinstance(event, FileEvent):
                    self._upload(run_id, event)
            self._remember(
                attempt=max(self._state.attempt, folder.number),
                offsets={**self._state.offsets, folder.number: reader.offset},
                last_steps=last_steps,
            )

    def _log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        try:
            self._client.log_batch(run_id, metrics=metrics)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(INVALID_PARAMETER_VALUE):
                raise
            # It will be refused for ever, and what follows must not wait for it.
            log.error("tracking.metrics_refused", job_id=self._tracked.job_id, reason=str(error)[:500])

    def _upload(self, run_id: str, event: FileEvent) -> None:
        try:
            size = event.path.stat().st_size
        except FileNotFoundError:
            log.warning("tracking.file_gone", path=str(event.path))
            return
        if size > UPLOAD_LIMIT_BYTES:
            log.info("tracking.file_too_large", path=str(event.path), bytes=size)
            return
        self._client.log_artifact(run_id, str(event.path))

    def _remember(self, **changes: object) -> None:
        self._state = self._state.model_copy(update=changes)
        write_atomically(self._files.state, self._state.model_dump_json())


def _new_points(events: Sequence[Event], last_steps: dict[str, int]) -> Iterator[Metric]:
    """The points beyond each metric's last step, which moves on. What is not finite is stored as NaN: MLflow makes
    the largest double of an infinity, which flattens every chart.
    """
    for event in events:
        if isinstance(event, MetricsEvent):
            for name, value in event.values.items():
                if event.global_step > last_steps.get(name, -1):
                    last_steps[name] = event.global_step
                    finite = value if math.isfinite(value) else math.nan
                    yield Metric(name, finite, event.time_ms, event.global_step)


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of at most `size`, in order."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


@contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    """Whether this process may deliver the run; the kernel frees the lock when the process dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
