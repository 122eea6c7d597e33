"""What evaluations and predictions share: where the model is, and the surroundings of the task that uses it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from sdcn_core.errors import WeightsError
from sdcn_core.training.trainer import MODEL_FILE
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
    job_id, _, run = model.partition("/")
    folder = order.home / "runs" / job_id
    path = (folder / "runs" / run if run else folder) / "artifacts" / MODEL_FILE
    if not path.is_file():
        raise WeightsError(f"model {model} is not there (any more): GET /v1/models lists those there are")
    return path


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
