"""Which cells each bin of RoI max pooling holds: Fast R-CNN's rounding, as in torchvision, once for all our forms.

R boxes, g bins a side, h x w the map.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RoiBins:
    """A bin is a range of rows times a range of columns, half-open, within the map; empty where first >= end."""

    rows: Tensor
    """(R, g, 2) int32: first row, end row"""
    columns: Tensor
    """(R, g, 2) int32: first column, end column"""


def roi_bins(boxes: Tensor, *, stride: int, grid: int, height: int, width: int) -> RoiBins:
    """The bins of each box.

    A box's first and last cell are round(x1 / stride) and round((x2 - 1) / stride), halves away from zero, both
    included; it has at least one. Edges of bins are floored and ceiled, so neighbours may share cells.

    Args:
        boxes: (R, 4) xyxy px, half-open, also outside the map. Edges are computed in their dtype, as in torchvision.
        stride: pixels a cell, a power of two.
        grid: bins a side.
        height: rows of the map.
        width: columns of the map.
    """
    first = _round_half_away(boxes[:, :2].double() / stride)  # (R, 2) x, y
    last = _round_half_away((boxes[:, 2:] - 1).double() / stride)
    size = (last - first + 1).clamp(min=1).to(boxes.dtype)
    # A tensor, not a number: CUDA divides by a number by multiplying with its reciprocal, which rounds otherwise.
    bin_size = size / torch.full_like(size, grid)
    index = torch.arange(grid + 1, dtype=boxes.dtype, device=boxes.device)
    edges = index[:, None] * bin_size[:, None, :]  # (R, g + 1, 2)
    starts = edges[:, :-1].floor().double() + first[:, None, :]
    ends = edges[:, 1:].ceil().double() + first[:, None, :]
    ranges = torch.stack([starts, ends], dim=2)  # (R, g, 2 of the range, 2 of x and y)
    columns = ranges[..., 0].clamp(min=0, max=width)
    rows = ranges[..., 1].clamp(min=0, max=height)
    return RoiBins(rows=rows.to(torch.int32).contiguous(), columns=columns.to(torch.int32).contiguous())


def _round_half_away(x: Tensor) -> Tensor:
    # C's round(); torch's rounds halves to even. In float64 the sum is exact for every float32.
    return torch.trunc(x + torch.copysign(torch.full_like(x, 0.5), x))
