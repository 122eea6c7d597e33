"""kappa: instance labels nobody drew. N proposals, C classes, background is class C, P positive classes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdcn_core.structures.boxes import box_iou
from sdcn_core.structures.labels import present_classes


@dataclass(frozen=True)
class InstanceLabels:
    """One pseudo label a proposal, and how much it is to be trusted."""

    labels: Tensor
    """(N,) int64 in [0, C]"""
    weights: Tensor
    """(N,) >= 0: the score of the seed that the proposal was compared with, background included; 0 where ignored"""
    seed_boxes: Tensor
    """(N, 4) xyxy px, half-open: the box of that seed; without a seed the proposal itself"""


@torch.no_grad()
def mine_instances(
    scores: Tensor, proposals: Tensor, image_labels: Tensor, *, foreground_iou: float, ignored_below_iou: float
) -> InstanceLabels:
    """Pseudo instance labels from scores: kappa, eq. (4), as OICR takes them.

    Each positive class, in ascending order, chooses its best proposal as its seed; a proposal is the seed of one class
    at most. Every proposal then belongs to the seed it overlaps most: it shares that seed's class from `foreground_iou`
    on and is background below, and in both cases has the seed's score as its weight; below `ignored_below_iou` it has
    no weight (PCL). In a tie the first proposal, and the lowest class, wins.

    Args:
        scores: (N, C) in [0, 1]: of the MIDN for the first refinement, of the refinement before for the others.
        proposals: (N, 4) xyxy px, half-open, N >= 1.
        image_labels: (C,) 0 or 1.
        foreground_iou: in (0, 1).
        ignored_below_iou: in [0, foreground_iou]; 0, OICR's, ignores nothing.

    Returns:
        Labels and weights, without gradient. Without a positive class all is background of weight zero.
    """
    positive = present_classes(image_labels)[:-1]  # (P,)
    if len(positive) == 0:
        return InstanceLabels(
            labels=torch.full_like(scores[:, 0], len(image_labels), dtype=torch.int64),
            weights=torch.zeros_like(scores[:, 0]),
            seed_boxes=proposals,
        )
    remaining = scores[:, positive]  # (N, P), a copy
    tops = []
    for column in range(len(positive)):
        tops.append(remaining[:, column].max(dim=0))
        remaining[tops[-1].indices] = 0  # taken: no seed of a later class
    seeds = torch.stack([top.indices for top in tops])  # (P,)
    seed_scores = torch.stack([top.values for top in tops])
    seed_boxes = proposals[seeds]  # (P, 4)
    overlap, owner = box_iou(proposals, seed_boxes).max(dim=1)  # (N,)
    labels = torch.where(overlap >= foreground_iou, positive[owner], len(image_labels))
    weights = torch.where(overlap >= ignored_below_iou, seed_scores[owner], 0)
    return InstanceLabels(labels=labels, weights=weights, seed_boxes=seed_boxes[owner])
