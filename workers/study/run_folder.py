"""The files of one run of a study below <home>/runs/<job id>/runs/<run name>/, laid out like a job's."""

import logging
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from sdcn_core.config.experiment import ExperimentConfig
from service.checkpoint_storage import CheckpointStorage, remove
from service.jobs.study_results import RunFound
from workers.attempt_folder import RunFolder, write_atomically
from workers.training.order import RunOrder

log = logging.getLogger(__name__)


class RunRecord(BaseModel):
    """What a run is, written before it starts: run.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    variant: str
    seed: int
    overrides: dict[str, JsonValue]
    experiment: ExperimentConfig
    created_at_ms: int


class StudyRunFolder:
    """One run, over all attempts of its job."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.record = path / "run.json"
        self.found = path / "found.json"
        self.artifacts = path / "artifacts"

    @classmethod
    def of(cls, job: RunFolder, name: str) -> "StudyRunFolder":
        return cls(job.path / "runs" / name)

    def write_record(self, order: RunOrder) -> None:
        """Leave run.json, unless it is there: when a run was made is told once."""
        if self.record.exists():
            return
        self.path.mkdir(parents=True, exist_ok=True)
        record = RunRecord(
            name=order.name,
            variant=order.variant,
            seed=order.seed,
            overrides=order.overrides,
            experiment=order.experiment,
            created_at_ms=time.time_ns() // 1_000_000,
        )
        write_atomically(self.record, record.model_dump_json(indent=2))

    def write_found(self, found: RunFound) -> None:
        write_atomically(self.found, found.model_dump_json(indent=2))

    def read_found(self) -> RunFound | None:
        """How the run ended; None while it has not."""
        try:
            return RunFound.model_validate_json(self.found.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    @property
    def has_ended_for_good(self) -> bool:
        """Whether no attempt trains it any more: it has ended, and not for a passing reason."""
        found = self.read_found()
        return found is not None and (found.failure is None or not found.failure.reason.is_retryable)

    def forget_passing_failure(self) -> None:
        """Before an attempt begins: a run that an earlier one gave up for a passing reason may end better in this."""
        if self.read_found() is not None and not self.has_ended_for_good:
            self.found.unlink(missing_ok=True)

    def remove_checkpoints(self, storage: CheckpointStorage) -> None:
        """Of a run that has ended for good: nobody goes on from an end. Those that cannot be removed now stay."""
        try:
            remove(storage.of(self.path) / "checkpoints")
        except Exception:  # each store has errors of its own
            log.warning("checkpoints of %s cannot be removed", self.path.name, exc_info=True)
