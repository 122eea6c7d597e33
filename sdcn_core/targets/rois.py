"""What Fast R-CNN's RoIs are to become. R RoIs and M labelled boxes of one image, S RoIs that take part."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sdcn_core.structures.box_deltas import encode_boxes
from sdcn_core.structures.boxes import box_iou


@dataclass(frozen=True)
class RoiTargets:
    """Of the RoIs that take part, foreground first."""

    rows: Tensor
    """(S,) int64 which RoIs these are"""
    labels: Tensor
    """(S,) int64 in [0, C], background is C"""
    deltas: Tensor
    """(S, 4) from each RoI to its box; 0 for background, which has none"""


@torch.no_grad()
def assign_rois(
    rois: Tensor,
    boxes: Tensor,
    classes: Tensor,
    *,
    num_classes: int,
    foreground_iou: float,
    background_iou: tuple[float, float],
    rois_per_image: int,
    foreground_fraction: float,
    generator: torch.Generator,
) -> RoiTargets:
    """Fast R-CNN's targets (Girshick 2015, section 2.3).

    Every RoI belongs to the box that it overlaps most, in a tie to the first. From `foreground_iou` on it shares the
    box's class and is moved to it; in `background_iou`, the upper end left out, it is background; the others say
    nothing. Of more than a step may have, some are drawn at random.

    Args:
        rois: (R, 4) xyxy px, half-open, of positive area.
        boxes: (M, 4) likewise; M may be 0: then no RoI takes part.
        classes: (M,) int64 in [0, C).
        num_classes: C.
        foreground_iou: in (0, 1].
        background_iou: 0 <= low < high <= foreground_iou.
        rois_per_image: at most so many take part.
        foreground_fraction: at most this share of rois_per_image, rounded, is foreground.
        generator: draws.
    """
    if len(boxes) == 0:
        nothing = torch.zeros(0, dtype=torch.int64, device=rois.device)
        return RoiTargets(nothing, nothing, rois.new_zeros(0, 4))
    overlap, owner = box_iou(rois, boxes).max(dim=1)  # (R,)
    low, high = background_iou
    foreground = (overlap >= foreground_iou).nonzero().flatten()
    background = ((overlap >= low) & (overlap < high)).nonzero().flatten()
    foreground = _drawn(foreground, round(foreground_fraction * rois_per_image), generator)
    background = _drawn(background, rois_per_image - len(foreground), generator)
    rows = torch.cat([foreground, background])
    labels = torch.full_like(rows, num_classes)
    labels[: len(foreground)] = classes[owner[foreground]]
    deltas = rois.new_zeros(len(rows), 4)
    deltas[: len(foreground)] = encode_boxes(rois[foreground], boxes[owner[foreground]])
    return RoiTargets(rows, labels, deltas)


def _drawn(rows: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    """At most `limit` of the rows, in their order."""
    if len(rows) <= limit:
        return rows
    chosen = torch.randperm(len(rows), generator=generator, device=generator.device)[:limit]
    return rows[chosen.sort().values.to(rows.device)]
