"""Boxes: always (N, 4) float32, x1 y1 x2 y2, pixels from 0, half-open: a box holds the pixels x1 <= x < x2.

With this edge the plain area (x2 - x1) * (y2 - y1) equals the "+1 inclusive" area of the VOC tools,
so overlaps agree with theirs.
"""

import torch
from torch import Tensor


def box_area(boxes: Tensor) -> Tensor:
    """Areas (N,) of boxes (N, 4), px^2.

    >>> box_area(torch.tensor([[0.0, 0.0, 2.0, 3.0]])).item()
    6.0
    """
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def box_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Pairwise IoU (N, M) in [0, 1] of boxes (N, 4) and others (M, 4); boxes of no area overlap nothing."""
    top_left = torch.maximum(boxes[:, None, :2], others[None, :, :2])  # (N, M, 2)
    bottom_right = torch.minimum(boxes[:, None, 2:], others[None, :, 2:])
    inside = (bottom_right - top_left).clamp(min=0).prod(dim=2)  # (N, M)
    union = box_area(boxes)[:, None] + box_area(others)[None, :] - inside
    return torch.where(union > 0, inside / union, torch.zeros_like(union))


def flip_boxes(boxes: Tensor, width: int) -> Tensor:
    """Boxes (N, 4) in the mirror image of an image `width` pixels wide."""
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([width - x2, y1, width - x1, y2], dim=1)


def clip_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes (N, 4) cut at the image's edges; a box outside becomes one of no area."""
    limits = boxes.new_tensor([width, height, width, height])
    return boxes.clamp(min=0).minimum(limits)


def boxes_to_cells(boxes: Tensor, stride: int, height: int, width: int) -> Tensor:
    """The cells of a (height, width) feature grid that each box covers, as RoI pooling rounds them.

    First and last cell are round(x1 / stride) and round((x2 - 1) / stride), halves away from zero, both included,
    clipped to the grid; a box covers at least one cell. Fast R-CNN's rule, so that pooling, eq. (17) and eq. (21) look
    at the same cells.

    Args:
        boxes: (N, 4) xyxy px, half-open.
        stride: pixels a cell.
        height: rows of the grid.
        width: columns of the grid.

    Returns:
        (N, 4) int64 xyxy in cells, half-open, 0 <= x1 < x2 <= width, 0 <= y1 < y2 <= height.
    """
    first = torch.floor(boxes[:, :2] / stride + 0.5)  # (N, 2) x, y
    last = torch.floor((boxes[:, 2:] - 1) / stride + 0.5)
    limits = boxes.new_tensor([width - 1, height - 1])
    first = first.clamp(min=0).minimum(limits)
    last = torch.maximum(last.clamp(min=0).minimum(limits), first)
    return torch.cat([first, last + 1], dim=1).long()
