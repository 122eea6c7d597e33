"""What the networks compute. B images, N proposals of one image, C classes (background is index C, the last), K
refinements.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdcn_core.structures.box_deltas import DELTA_UNITS


@dataclass(frozen=True)
class DetectionOutput:
    """f^D on one image."""

    midn_scores: Tensor
    """D^m, (N, C) in [0, 1], each column sums to at most 1, eq. (2)"""
    refinement_logits: tuple[Tensor, ...]
    """K times (N, C + 1), unbounded, eq. (5)"""
    refinement_deltas: tuple[Tensor, ...] = ()
    """K times (N, C, 4) in DELTA_UNITS, how each proposal becomes a box of each class; none without box regression"""

    def detection_deltas(self) -> Tensor | None:
        """(N, C, 4) mean of the refinements' deltas, of which the mean scores are too; None without box regression."""
        if not self.refinement_deltas:
            return None
        mean = torch.stack(self.refinement_deltas).mean(dim=0)
        return mean * mean.new_tensor(DELTA_UNITS)

    def detection_scores(self) -> Tensor:
        """D, (N, C + 1): mean of the refinements' softmaxes (appendix A); without refinements D^m and a zero
        background.
        """
        if not self.refinement_logits:
            return torch.cat([self.midn_scores, self.midn_scores.new_zeros(len(self.midn_scores), 1)], dim=1)
        return torch.stack([logits.softmax(dim=1) for logits in self.refinement_logits]).mean(dim=0)


@dataclass(frozen=True)
class BoxOutput:
    """Fast R-CNN on one image's R RoIs."""

    logits: Tensor
    """(R, C + 1), unbounded"""
    deltas: Tensor
    """(R, C, 4) of each class, less its mean and divided by its deviation over the training set"""


@dataclass(frozen=True)
class ScoredProposals:
    """What a detector says at test time of one image's proposals."""

    scores: Tensor
    """(N, C) in [0, 1], without background"""
    deltas: Tensor | None = None
    """(N, C, 4) how each proposal becomes a box of each class (structures/box_deltas.py); None: it is the box"""


@dataclass(frozen=True)
class SDCNOutput:
    """f^E, f^D and f^S on a batch."""

    detections: tuple[DetectionOutput, ...]
    """one an image"""
    map_logits: Tensor | None
    """(B, C + 1, h, w), unbounded; their softmax over channels is S, eq. (8); None without the segmentation branch"""
