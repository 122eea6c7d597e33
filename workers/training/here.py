"""A training in this very process."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from sdcn_core.training.progress import Stage, TrainingReport
from sdcn_core.training.ranks import Ranks
from service.run_files.checkpoints import step_of
from workers.spool import EventSpool, ResumedEvent
from workers.training.checkpoints import KeptCheckpoints
from workers.training.events import events_of, keep_files
from workers.training.order import TrainingEnd, TrainingOrder
from workers.training.process import train_rank

OnReport = Callable[[TrainingReport], bool]
"""hears every report that has metrics; True: the training shall end here"""


class EndedEarly(Exception):
    """Unwinds the training when a listener has heard enough."""


def train_here(order: TrainingOrder, *, on_report: OnReport | None = None) -> TrainingEnd:
    """Train as the only rank, from the newest checkpoint that is whole.

    Raises:
        EndedEarly: `on_report` said so.
        SdcnError: the data, the weights or the training itself failed.
    """
    device = torch.device("cuda" if order.gpus else "cpu")
    checkpoints = KeptCheckpoints(order.checkpoints, keep=order.checkpoints_to_keep, scratch=order.folder.work)
    order.folder.path.mkdir(parents=True, exist_ok=True)
    spool = EventSpool(order.folder.events)
    try:
        with checkpoints.newest(order.experiment) as checkpoint:
            if checkpoint is not None:
                spool.append(ResumedEvent(global_step=step_of(checkpoint)))
            hooks = LocalHooks(order, spool, checkpoints, device, on_report)
            outcome = train_rank(order, hooks=hooks, ranks=Ranks(0, 1, device), checkpoint=checkpoint)
    finally:
        spool.close()
    return TrainingEnd(stopped=outcome.stopped, results=outcome.results)


class LocalHooks:
    """See TrainingHooks."""

    def __init__(
        self,
        order: TrainingOrder,
        spool: EventSpool,
        checkpoints: KeptCheckpoints,
        device: torch.device,
        on_report: OnReport | None,
    ) -> None:
        self._order = order
        self._spool = spool
        self._checkpoints = checkpoints
        self._device = device
        self._on_report = on_report

    def prepare(self, module: nn.Module) -> nn.Module:
        return module.to(self._device)

    def report(self, report: TrainingReport, checkpoint: Path | None) -> None:
        self._order.check_fence()
        if checkpoint is not None:  # before it is told of: what is reported after a checkpoint is never trained again
            self._checkpoints.take(checkpoint, report.global_step)
        for event in events_of(report, keep_files(report.files, self._order.artifacts)):
            self._spool.append(event)
        if self._on_report is not None and report.metrics:
            enough = self._on_report(report)
            if enough and report.progress.stage is not Stage.EVALUATE:
                raise EndedEarly

    def should_stop(self) -> bool:
        return self._order.wants_stop
