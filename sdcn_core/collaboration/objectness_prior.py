"""Beyond the paper: TS2C's objectness as what segmentation says of proposals.

Wei et al., *TS2C: Tight Box Mining with Surrounding Segmentation Context*, ECCV 2018.

N proposals, C classes, background is class C, P positive classes, h x w feature grid.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from sdcn_core.structures.labels import present_classes


@torch.no_grad()
def objectness_prior(
    maps: Tensor, cells: Tensor, image_labels: Tensor, *, tau_0: float, surrounding_scale: float
) -> Tensor:
    """How much more of a class's map lies in each proposal than around it, in the place of the IoU of eq. (17).

    A box on a part has the rest of the object around it, a box too large has background in it: both differ little. The
    difference of the means, not below 0, is added to tau_0, and each column is divided by its maximum, as in eq. (17).
    Around a box is what the box enlarged by `surrounding_scale` about its centre holds beside it: whole cells, at least
    one on each side that is not the grid's edge. Around a box that holds the whole grid is nothing, of mean 0.

    Args:
        maps: S, (C + 1, h, w) in [0, 1].
        cells: the proposals on the grid, (N, 4) int64 xyxy in cells, half-open, each at least one cell, N >= 1.
        image_labels: (C,) 0 or 1.
        tau_0: tolerance for a wrong segmentation, > 0; larger trusts the maps less.
        surrounding_scale: > 1.

    Returns:
        (N, C) float32 in (0, 1], a constant. Of an absent class: all ones.

    Raises:
        ValueError: tau_0 <= 0 (a map as strong around every proposal as in it would divide by zero).
    """
    if tau_0 <= 0:
        raise ValueError(f"tau_0 must be > 0, got {tau_0}")
    positive = present_classes(image_labels)[:-1]  # (P,)
    # In double: a small box's mean is a small difference of large sums.
    sums = F.pad(maps[positive].double().cumsum(dim=1).cumsum(dim=2), (1, 0, 1, 0))  # (P, h+1, w+1)
    enlarged = _enlarge(cells, surrounding_scale, *maps.shape[1:])
    inside, whole = _box_sums(sums, cells), _box_sums(sums, enlarged)  # (P, N)
    area, around_area = _areas(cells), _areas(enlarged) - _areas(cells)  # (N,)
    difference = inside / area - (whole - inside) / around_area.clamp(min=1)
    degree = difference.clamp(min=0) + tau_0  # (P, N)
    prior = torch.ones(len(cells), len(image_labels), device=maps.device)  # (N, C)
    prior[:, positive] = (degree / degree.amax(dim=1, keepdim=True)).T.float()
    return prior


def _enlarge(cells: Tensor, scale: float, height: int, width: int) -> Tensor:
    """Boxes (N, 4) in cells about the same centres, outwards to whole cells, inside the grid."""
    margins = ((cells[:, 2:] - cells[:, :2]).double() * (scale - 1) / 2).ceil().long()  # (N, 2) x, y
    limits = cells.new_tensor([width, height])
    return torch.cat([(cells[:, :2] - margins).clamp(min=0), (cells[:, 2:] + margins).minimum(limits)], dim=1)


def _areas(cells: Tensor) -> Tensor:
    """(N,) cells of boxes (N, 4)."""
    return (cells[:, 2:] - cells[:, :2]).prod(dim=1)


def _box_sums(sums: Tensor, cells: Tensor) -> Tensor:
    """(P, N) from summed-area tables (P, h+1, w+1), cell (y, x) holding the sum above and left of it."""
    x1, y1, x2, y2 = cells.unbind(1)
    return sums[:, y2, x2] - sums[:, y2, x1] - sums[:, y1, x2] + sums[:, y1, x1]
