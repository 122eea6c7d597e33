"""What every training process runs: the trainer of sdcn_core, with Ray as its surroundings."""

import json
import secrets
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from ray import train as ray_train
from ray.train import collective
from ray.train.torch import get_device, prepare_model
from torch import nn

from sdcn_core.data.datasets import DataRoots
from sdcn_core.training.progress import TrainingReport
from sdcn_core.training.ranks import Ranks
from sdcn_core.training.trainer import run_training
from workers.attempt_folder import AttemptFolder, AttemptOrder, RunFolder, write_atomically
from workers.ray_runtime.reporting import events_of, keep_files, to_payload
from workers.ray_runtime.run_storage import checkpoint_name, step_of
from workers.spool import Event, ResumedEvent


class LoopOrder(BaseModel):
    """The loop's configuration; Ray carries it as plain JSON, and every process validates it again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempt: AttemptOrder
    cpus: int
    """threads of each process"""


class RayHooks:
    """The trainer's surroundings in one of Ray Train's processes (TrainingHooks)."""

    def __init__(self, folder: AttemptFolder, artifacts: Path, ranks: Ranks, resumed_from: int | None) -> None:
        self._folder = folder
        self._artifacts = artifacts
        self._ranks = ranks
        self._first_events: list[Event] = [] if resumed_from is None else [ResumedEvent(global_step=resumed_from)]

    def prepare(self, module: nn.Module) -> nn.Module:
        # Batch norm takes its statistics over all ranks, so their buffers are equal without DDP's broadcasts; and a
        # module in which nothing learns is refused by DDP.
        learns = any(parameter.requires_grad for parameter in module.parameters())
        return prepare_model(
            module,
            parallel_strategy="ddp" if learns else None,
            parallel_strategy_kwargs={"broadcast_buffers": False} if learns else None,
        )

    def report(self, report: TrainingReport, checkpoint: Path | None) -> None:
        payload: dict[str, Any] = {}
        if self._ranks.is_first:
            events = self._first_events + events_of(report, keep_files(report.files, self._artifacts))
            self._first_events = []
            payload = to_payload(events)
        ray_train.report(
            payload,
            checkpoint=None if checkpoint is None else ray_train.Checkpoint.from_directory(checkpoint),
            checkpoint_dir_name=checkpoint_name(report.global_step, secrets.token_hex(4)),
        )

    def should_stop(self) -> bool:
        wanted = self._folder.stop.exists()
        if self._ranks.world_size == 1:
            return wanted
        # Rank 0 alone decides: the others may look a moment later and see another answer.
        return bool(collective.broadcast_from_rank_zero(wanted))


def train_loop_per_worker(config: dict[str, Any]) -> None:
    """One rank of the training, from the last checkpoint where there is one; rank 0 leaves its findings in a file."""
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
