"""What every process of every training runs: the trainer of sdcn_core, as ordered."""

from pathlib import Path

import torch

from sdcn_core.pseudo_labels.labels import load_pseudo_labels
from sdcn_core.training.progress import TrainingHooks
from sdcn_core.training.ranks import Ranks
from sdcn_core.training.run import RunOutcome
from sdcn_core.training.trainer import run_training
from workers.training.order import TrainingOrder


def train_rank(order: TrainingOrder, *, hooks: TrainingHooks, ranks: Ranks, checkpoint: Path | None) -> RunOutcome:
    """This rank's part of the training, from the checkpoint where there is one.

    Raises:
        SdcnError: the data, the weights or the training itself failed.
    """
    torch.set_num_threads(order.cpus)
    work_dir = order.folder.work / f"rank-{ranks.rank}"
    work_dir.mkdir(parents=True, exist_ok=True)
    return run_training(
        order.experiment,
        roots=order.roots,
        weights_root=order.weights_root,
        hooks=hooks,
        ranks=ranks,
        checkpoint=checkpoint,
        work_dir=work_dir,
        stages=order.store,
        until=order.until,
        pseudo_labels=None if order.pseudo_labels is None else load_pseudo_labels(order.pseudo_labels),
    )
