"""The trainer's surroundings in one of Ray Train's processes: every method is called on every rank."""

from pathlib import Path
from typing import Any

from ray import train as ray_train
from ray.train import collective
from ray.train.torch import prepare_model
from torch import nn

from sdcn_core.training.progress import TrainingReport
from sdcn_core.training.ranks import Ranks
from service.run_files.checkpoints import checkpoint_name
from workers.ray_runtime.reporting import to_payload
from workers.spool import Event, ResumedEvent
from workers.training.events import events_of, keep_files
from workers.training.order import TrainingOrder


class RayHooks:
    """See TrainingHooks."""

    def __init__(self, order: TrainingOrder, ranks: Ranks, resumed_from: int | None) -> None:
        self._order = order
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
            self._order.check_fence()
            events = self._first_events + events_of(report, keep_files(report.files, self._order.artifacts))
            self._first_events = []
            payload = to_payload(events)
        ray_train.report(
            payload,
            checkpoint=None if checkpoint is None else ray_train.Checkpoint.from_directory(checkpoint),
            checkpoint_dir_name=checkpoint_name(report.global_step),
        )

    def should_stop(self) -> bool:
        wanted = self._order.wants_stop
        if self._ranks.world_size == 1:
            return wanted
        # Rank 0 alone decides: the others may look a moment later and see another answer.
        return bool(collective.broadcast_from_rank_zero(wanted))
