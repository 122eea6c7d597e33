"""What every training process runs: the trainer of sdcn_core, with Ray as its surroundings."""

import json
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from ray import train as ray_train
from ray.train.torch import get_device

from sdcn_core.data.datasets import DataRoots
from sdcn_core.training.ranks import Ranks
from sdcn_core.training.trainer import run_training
from workers.attempt_folder import AttemptOrder, RunFolder, write_atomically
from workers.ray_runtime.hooks import RayHooks
from workers.ray_runtime.run_storage import step_of


class LoopOrder(BaseModel):
    """The loop's configuration; Ray carries it as plain JSON, and every process validates it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempt: AttemptOrder
    cpus: int
    """threads of each process"""


def train_loop_per_worker(config: dict[str, Any]) -> None:
    """One rank of the training, from the last checkpoint where there is one; rank 0 leaves its findings in a file."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_no_report)
    order = LoopOrder.model_validate(config)
    attempt = order.attempt
    torch.set_num_threads(order.cpus)
    run = RunFolder(attempt.home, attempt.job_id)
    folder = run.attempt(attempt.attempt)
    ranks = Ranks.current(get_device())
    work_dir = folder.work / f"rank-{ranks.rank}"
    work_dir.mkdir(parents=True, exist_ok=True)

    checkpoint = ray_train.get_checkpoint()
    resumed_from = None if checkpoint is None else step_of(Path(checkpoint.path))
    with nullcontext(None) if checkpoint is None else checkpoint.as_directory() as directory:
        outcome = run_training(
            attempt.spec.resolved_experiment,
            roots=DataRoots(data=attempt.data_root, cache=attempt.home / "cache"),
            weights_root=attempt.weights_root,
            hooks=RayHooks(folder, run.artifacts, ranks, resumed_from),
            ranks=ranks,
            checkpoint=None if directory is None else Path(directory),
            work_dir=work_dir,
        )
    if ranks.is_first:
        write_atomically(folder.findings, json.dumps(outcome.results))


def _is_no_report(record: logging.LogRecord) -> bool:
    """Ray prints every report whole, under a logger that is named after a file and not by its settings."""
    return not record.msg.startswith("Reporting training result") if isinstance(record.msg, str) else True
