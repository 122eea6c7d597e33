"""One run's spools written to its MLflow run: at least once, in order, each point visible once.

Everything that is needed lies in the run's folder, so any worker on this storage can go on where another ended. A point
that is sent twice has the same time and MLflow keeps one; steps that training replays after a resume are passed over,
because each metric only goes forward.
"""

import json
import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeVar

import structlog
from mlflow.entities import LifecycleStage, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import (
    INVALID_PARAMETER_VALUE,
    RESOURCE_ALREADY_EXISTS,
    RESOURCE_DOES_NOT_EXIST,
    ErrorCode,
)
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE
from pydantic import BaseModel

from service.jobs.any_results import judgement_in, parse_results
from workers.attempt_folder import AttemptFolder, write_atomically
from workers.errors import TrackingUnavailable
from workers.spool import Event, FileEvent, MetricsEvent, SpoolReader
from workers.tracking.tracked_run import (
    ATTEMPT_TAG,
    DIGEST_TAG,
    JOB_TAG,
    NAME_TAG,
    WITHOUT_BOXES_TAG,
    TrackedRun,
    TrackingFiles,
)

log = structlog.get_logger()

Item = TypeVar("Item")

METRICS_PER_BATCH = 1000
PARAMETERS_PER_BATCH = 100
PARAMETER_LENGTH = 6000
TAG_LENGTH = 5000
POINTS_PER_SERIES = 2000
"""more are not told apart on a screen, and slow MLflow's pages down"""
UPLOAD_LIMIT_BYTES = 64 * 2**20
"""larger files stay in the run's folder; the weights of a large network are no business of a tracking server"""
REFUSALS_OF_DELETED = {ErrorCode.Name(code) for code in (INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST)}
LINK_BESIDE = re.compile(rb'<a href="\.\./[^"]*">(.*?)</a>')
RESULTS_FILE = "results.json"
NOTE_FILE = "table.md"
"""the file that is also shown as the run's description"""


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
    closed_at_ms: int | None = None
    """of a study's run: when it ended, as it was last closed"""
    closed_runs: tuple[str, ...] = ()
    """of a study: its runs of which nothing is left to deliver"""
    registry_failures: int = 0
    """how often its model could not be registered"""
    closed: bool = False
    """whether the run was closed as its job ended; a job that is tried again opens it"""
    deleted: bool = False
    """whether somebody has deleted the run, so that nothing more is recorded"""


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


class RunWriter:
    """Writes what is new of one run. One process at a time may have one for a run."""

    def __init__(self, run_path: Path, tracked: TrackedRun, destination: Destination) -> None:
        self.tracked = tracked
        self.destination = destination
        self.client = destination.client
        self._files = TrackingFiles(run_path)
        self._files.folder.mkdir(parents=True, exist_ok=True)
        self._attempts = sorted(
            (AttemptFolder(path) for path in run_path.glob("attempt-*")), key=lambda folder: folder.number
        )
        try:
            self.state = DeliveryState.model_validate_json(self._files.state.read_bytes())
        except FileNotFoundError:
            self.state = DeliveryState()

    def find_or_create(self, *, run_name: str, others: str, tags: Mapping[str, str]) -> str:
        """The run that an earlier delivery made and could not remember, or a new one.

        Args:
            run_name: of a new run.
            others: a filter that leaves this one among the job's runs.
            tags: of a new run, beside those that every run has.
        """
        tracked = self.tracked
        experiment_id = self.destination.experiment_id()
        of_job = f"tags.`{JOB_TAG}` = '{tracked.job_id}' AND {others}"
        if found := self.client.search_runs([experiment_id], of_job, max_results=1):
            return str(found[0].info.run_id)
        common = {JOB_TAG: tracked.job_id, NAME_TAG: tracked.name, DIGEST_TAG: tracked.config_digest}
        created = self.client.create_run(
            experiment_id,
            start_time=tracked.created_at_ms,
            tags=common | {name: value[:TAG_LENGTH] for name, value in {**tracked.tags, **tags}.items()},
            run_name=run_name,
        )
        return str(created.info.run_id)

    def write(self, run_id: str) -> None:
        """Parameters once, then what is new in the spools."""
        if not self.state.described:
            self._describe(run_id)
        for folder in self._attempts:
            self._write_spool(run_id, folder)

    def is_deleted(self, run_id: str, refusal: MlflowException) -> bool:
        """Whether MLflow refused because somebody has deleted the run: it takes nothing for it any more."""
        if refusal.error_code not in REFUSALS_OF_DELETED:
            return False
        try:
            return self.client.get_run(run_id).info.lifecycle_stage == LifecycleStage.DELETED
        except MlflowException as error:
            if error.error_code == ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):  # and emptied the bin
                return True
            raise

    def set_tag(self, run_id: str, name: str, value: str) -> None:
        self.client.set_tag(run_id, name, value[:TAG_LENGTH])

    def remember(self, **changes: object) -> None:
        self.state = self.state.model_copy(update=changes)
        write_atomically(self._files.state, self.state.model_dump_json())

    def _describe(self, run_id: str) -> None:
        parameters = [
            Param(name, value[:PARAMETER_LENGTH] or "-") for name, value in sorted(self.tracked.parameters.items())
        ]
        for batch in _batches(parameters, PARAMETERS_PER_BATCH):
            self.client.log_batch(run_id, params=batch)
        self.remember(described=True)

    def _write_spool(self, run_id: str, folder: AttemptFolder) -> None:
        spacing = max(1, math.ceil(self.tracked.total_steps / POINTS_PER_SERIES))
        reader = SpoolReader(folder.events, self.state.offsets.get(folder.number, 0))
        while events := reader.read():
            if folder.number > self.state.attempt:
                self.set_tag(run_id, ATTEMPT_TAG, str(folder.number))
                self.client.update_run(run_id, status="RUNNING")
            last_steps = dict(self.state.last_steps)
            for batch in _batches(new_points(events, last_steps, spacing), METRICS_PER_BATCH):
                self._log_metrics(run_id, batch)
            for event in events:
                if isinstance(event, FileEvent):
                    self._upload(run_id, event)
            self.remember(
                attempt=max(self.state.attempt, folder.number),
                offsets={**self.state.offsets, folder.number: reader.offset},
                last_steps=last_steps,
            )

    def _log_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        try:
            self.client.log_batch(run_id, metrics=metrics)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(INVALID_PARAMETER_VALUE) or self.is_deleted(run_id, error):
                raise
            # It will be refused for ever, and what follows must not wait for it.
            log.error("tracking.metrics_refused", job_id=self.tracked.job_id, reason=str(error)[:500])

    def _upload(self, run_id: str, event: FileEvent) -> None:
        try:
            size = event.path.stat().st_size
        except FileNotFoundError:
            log.warning("tracking.file_gone", path=str(event.path))
            return
        if size > UPLOAD_LIMIT_BYTES:
            log.info("tracking.file_too_large", path=str(event.path), bytes=size)
            return
        folder = str(PurePosixPath(event.name).parent)
        with _as_mlflow_shows_it(event.path) as path:
            self.client.log_artifact(run_id, str(path), artifact_path=None if folder == "." else folder)
        if event.name == NOTE_FILE:
            self.set_tag(run_id, MLFLOW_RUN_NOTE, event.path.read_text())
        if event.name == RESULTS_FILE and (sentence := _told_of_boxes(event.path)):
            self.set_tag(run_id, WITHOUT_BOXES_TAG, sentence)


def new_points(events: Sequence[Event], last_steps: dict[str, int], spacing: int) -> Iterator[Metric]:
    """The points at least `spacing` steps beyond each metric's last one, which moves on. What is not finite is stored
    as NaN: MLflow makes the largest double of an infinity, which flattens every chart.
    """
    for event in events:
        if isinstance(event, MetricsEvent):
            for name, value in event.values.items():
                last = last_steps.get(name)
                if last is None or event.global_step >= last + spacing:
                    last_steps[name] = event.global_step
                    finite = value if math.isfinite(value) else math.nan
                    yield Metric(name, finite, event.time_ms, event.global_step)


def _told_of_boxes(path: Path) -> str:
    """What the results say could not be counted without boxes; empty where all was, or another version wrote them."""
    try:
        judged = judgement_in(parse_results(json.loads(path.read_bytes())))
    except ValueError:
        return ""
    return "" if judged is None else judged.without_boxes_sentence()


@contextmanager
def _as_mlflow_shows_it(path: Path) -> Iterator[Path]:
    """The file, or of a page a copy without links to what lies beside it in the job's folder: in MLflow, where nothing
    does, they would lead nowhere.
    """
    if path.suffix != ".html":
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="sdcn-page-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(LINK_BESIDE.sub(rb"\1", path.read_bytes()))
        yield copy


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of at most `size`, in order."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch
