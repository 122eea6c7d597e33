"""Regions of a mask on the feature grid. J regions, N boxes in cells, h x w cells."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

# 8-connected: a diagonal neighbour belongs to the region; scipy's default is 4.
_TOUCHING = np.ones((3, 3), dtype=np.int8)


def connected_components(mask: Tensor, *, min_cells: int) -> Tensor:
    """The 8-connected regions of a mask that hold at least `min_cells` cells, in the order of their first cell.

    Args:
        mask: (h, w) bool.
        min_cells: >= 1.

    Returns:
        (J, h, w) bool on the mask's device, disjoint; J is 0 where no region is large enough.
    """
    names, found = ndimage.label(mask.cpu().numpy(), structure=_TOUCHING)  # (h, w), 0 outside
    sizes = np.bincount(names.ravel(), minlength=found + 1)[1:]  # (found,)
    large = np.flatnonzero(sizes >= min_cells) + 1
    return torch.from_numpy(names == large[:, None, None]).to(mask.device)  # (J, h, w)


def region_box_iou(regions: Tensor, cells: Tensor) -> Tensor:
    """IoU of each region with each box, counted in cells: a thin diagonal region does not pass for the box around it.

    One summed-area table a region gives every box its share from four corners.

    Args:
        regions: (J, h, w) bool.
        cells: (N, 4) int64 xyxy in cells, half-open, inside the grid, each at least one cell.

    Returns:
        (J, N) float32 in [0, 1].
    """
    sums = regions.cumsum(dim=1, dtype=torch.int32).cumsum(dim=2, dtype=torch.int32)
    table = F.pad(sums, (1, 0, 1, 0)).flatten(1)  # (J, (h+1) * (w+1)), cell (y, x) holds the sum above and left of it
    pitch = regions.shape[2] + 1
    x1, y1, x2, y2 = cells.unbind(1)
    top, bottom = y1 * pitch, y2 * pitch
    inside = table[:, bottom + x2] - table[:, bottom + x1] - table[:, top + x2] + table[:, top + x1]  # (J, N)
    union = table[:, -1:] + (x2 - x1) * (y2 - y1) - inside
    return inside / union


def region_boxes(regions: Tensor) -> Tensor:
    """The tight box around each region (J, h, w) bool, none empty: (J, 4) int64 xyxy in cells, half-open."""

    def extent(occupied: Tensor) -> tuple[Tensor, Tensor]:
        flags = occupied.int()  # (J, length)
        return flags.argmax(dim=1), flags.shape[1] - flags.flip(1).argmax(dim=1)

    x1, x2 = extent(regions.any(dim=1))
    y1, y2 = extent(regions.any(dim=2))
    return torch.stack([x1, y1, x2, y2], dim=1)
