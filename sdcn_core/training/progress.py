"""What training tells whoever runs it, and what it asks of them: the border between the trainer and its
surroundings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from torch import nn


class Stage(StrEnum):
    """The parts of a run, in order. `data`, `pseudo_labels` and `evaluate` have images as their steps, the others
    optimizer steps.
    """

    DATA = "data"
    """the data set is generated or checked, proposals are computed"""
    BACKBONE = "backbone"
    """f^E learns image labels (only where no pretrained weights are given)"""
    CLASSIFIER = "classifier"
    """f^C learns image labels: step 1 of the paper"""
    APART = "apart"
    """both branches without collaboration: step 2"""
    LOOP = "loop"
    """the collaboration loop closed: step 3"""
    PSEUDO_LABELS = "pseudo_labels"
    """of a second stage: another detector's best boxes are found; steps are images"""
    FAST_RCNN = "fast_rcnn"
    """of a second stage: Fast R-CNN learns them"""
    EVALUATE = "evaluate"


@dataclass(frozen=True)
class Progress:
    """How far a run is; step counts within the stage, the fraction over the whole run."""

    stage: Stage
    step: int
    stage_steps: int
    fraction: float
    """of the estimated work of this run that is done, in [0, 1], never falling within an attempt; what the run took
    over from others is none of its work"""


@dataclass(frozen=True)
class TrainingReport:
    """One message from the trainer. The same on every rank: numbers are averaged over ranks before."""

    progress: Progress
    global_step: int
    """optimizer steps over all stages; the x axis of every metric series"""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """flat names with '/': loss/<name>, loss_scaled/<name>, gradient/<name>, rate/<group>, time/step_s,
    eval/<metric>"""
    files: Mapping[str, Path] = field(default_factory=dict)
    """artifact name -> local file on rank 0, to be kept with the run: pictures, tables"""


class TrainingHooks(Protocol):
    """What surrounds a training: Ray, a terminal, or nothing. Every method is called on every rank at the same
    points.
    """

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module on its device and, with several ranks, wrapped in DistributedDataParallel."""
        ...

    def report(self, report: TrainingReport, checkpoint: Path | None) -> None:
        """Take note; `checkpoint` is a folder to keep (rank 0 only, None on the others and between checkpoints)."""
        ...

    def should_stop(self) -> bool:
        """Whether somebody asked the run to end early; the same answer on every rank."""
        ...
