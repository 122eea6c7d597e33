"""What evaluations and predictions share: where the model is, and the surroundings of the task that uses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.errors import BadInput, CheckpointError, WeightsError
from sdcn_core.models.saved import MODEL_FILE
from sdcn_core.training.checkpoint import model_from_checkpoint
from service.checkpoint_storage import here
from service.errors import CheckpointNotFound
from service.run_files.checkpoints import checkpoint_at
from service.run_files.folders import RunFiles
from workers.attempt_folder import AttemptFolder, AttemptOrder
from workers.executors.base import JobContext
from workers.ray_runtime.one_task import TaskOrder
from workers.spool import EventSpool


def model_path(order: AttemptOrder, model: str) -> Path:
    """The file of a model.

    Args:
        order: of the attempt.
        model: JOB or JOB/RUN, as the spec has checked it.

    Raises:
        WeightsError: there is none any more.
    """
    path = training_files(order, model).artifacts / MODEL_FILE
    if not path.is_file():
        raise WeightsError(f"model {model} is not there (any more): GET /v1/models lists those there are")
    return path


def keep_checkpoint_as_model(order: AttemptOrder, model: str, step: int | Literal["newest"], path: Path) -> int:
    """Write a checkpoint of a training as a model's file; the step at which it was written.

    Args:
        order: of the attempt.
        model: the training, as for `model_path`.
        step: of the checkpoint, or the newest.
        path: of the model's file.

    Raises:
        BadInput: the training keeps no such checkpoint, or it cannot be read.
    """
    training = training_files(order, model)
    try:
        with here(checkpoint_at(order.storage.of(training.path), step), scratch=path.parent) as checkpoint:
            return model_from_checkpoint(checkpoint, _experiment(training, model), path)
    except CheckpointNotFound as error:
        raise BadInput(f"checkpoint: {error.detail}") from None
    except CheckpointError as error:
        raise BadInput(f"checkpoint: {error}") from None


def training_files(order: AttemptOrder, model: str) -> RunFiles:
    """What the training of a model has left; `model` as for `model_path`."""
    job_id, _, run = model.partition("/")
    folder = order.home / "runs" / job_id
    return RunFiles(folder / "runs" / run if run else folder)


def _experiment(training: RunFiles, model: str) -> ExperimentConfig:
    """The experiment that a training wrote down when it began."""
    try:
        return ExperimentConfig.model_validate_json((training.artifacts / "config.json").read_bytes())
    except (OSError, ValidationError):
        raise BadInput(
            f"model: training {model} has left no config.json that this version can read: train it again"
        ) from None


@contextmanager
def in_task(order: TaskOrder) -> Iterator[tuple[JobContext, torch.device]]:
    """The job's context in the process of its task, and where to compute."""
    torch.set_num_threads(order.cpus)
    folder = AttemptFolder(order.folder)
    spool = EventSpool(folder.events)
    try:
        yield JobContext(order.attempt, folder, spool), torch.device("cuda" if order.gpus else "cpu")
    finally:
        spool.close()
