"""What one training is told, whatever the job: a train job's, one run of a study, or stages that several runs share.

The folder of a training is laid out like a job's: attempt-<n>/ with the spool, artifacts/, checkpoints.
"""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.data.datasets import DataRoots
from sdcn_core.training.progress import Stage
from sdcn_core.training.stage_store import StageStore
from service.checkpoint_storage import CheckpointStorage, Place
from workers.attempt_folder import AttemptFolder
from workers.fence import check_fence


class TrainingOrder(BaseModel):
    """Plain data: it travels to other processes as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    experiment: ExperimentConfig
    run_path: Path
    attempt: int = Field(ge=1)
    """of the job"""
    stop: Path
    """exists as soon as the job's attempt shall end"""
    home: Path
    data_root: Path
    weights_root: Path
    stages: Path | None = None
    """a store of stages; None: the training begins at the beginning and leaves no state"""
    until: Stage | None = None
    """the last stage to train, for the store; None: all, and then judge"""
    pseudo_labels: Path | None = None
    """the file of a second stage's; None: it is none"""
    num_workers: int = Field(default=1, ge=1)
    cpus: int = Field(ge=1)
    """threads of each process"""
    gpus: int = Field(default=0, ge=0)
    """of each process"""
    checkpoints_to_keep: int = Field(ge=1)
    checkpoints_url: str | None = None
    """as in CheckpointStorage"""

    @property
    def job_id(self) -> str:
        """Of the job whose attempt `stop` ends."""
        return self._job_attempt.run_path.name

    @property
    def _job_attempt(self) -> AttemptFolder:
        return AttemptFolder(self.stop.parent)

    @property
    def folder(self) -> AttemptFolder:
        """Of this attempt at this training; a file `stop` in it ends this training alone, as `stop` ends all."""
        return AttemptFolder(self.run_path / f"attempt-{self.attempt}")

    @property
    def is_of_study(self) -> bool:
        """Whether it is one training of several, with a folder of its own within the job's."""
        return self.run_path != self.stop.parent.parent

    @property
    def artifacts(self) -> Path:
        return self.run_path / "artifacts"

    @property
    def checkpoints(self) -> Place:
        """Of a training that has a folder of its own for them."""
        return self.storage.of(self.run_path) / "checkpoints"

    @property
    def storage(self) -> CheckpointStorage:
        return CheckpointStorage(self.home / "runs", self.checkpoints_url)

    @property
    def roots(self) -> DataRoots:
        return DataRoots(data=self.data_root, cache=self.home / "cache")

    @property
    def store(self) -> StageStore | None:
        return None if self.stages is None else StageStore(self.stages)

    def check_fence(self) -> None:
        """Call it before a checkpoint or an artifact is written.

        Raises:
            AttemptSuperseded: a later attempt of the job has begun.
        """
        check_fence(self._job_attempt.run_path, self.attempt)

    @property
    def wants_stop(self) -> bool:
        """Whether somebody asked this training, or the whole attempt, to end."""
        return self.stop.exists() or self.folder.stop.exists()


class RunOrder(TrainingOrder):
    """One run of a study."""

    name: str
    """unique within the job, safe in file names"""
    variant: str
    seed: int
    overrides: dict[str, JsonValue]
    """of the variant or trial, without the seed"""
    metric: str | None = None
    """of those that training reports; its last value becomes RunFound.value. None: nobody asks"""


class TrainingEnd(BaseModel):
    """How a training came to its end, in the words of its first process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stopped: bool
    """it was asked to end, and its last checkpoint is kept"""
    results: dict[str, Any] | None
    """as TrainResults; None where it was stopped, or trained for a store"""
