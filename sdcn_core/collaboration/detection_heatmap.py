"""Detection instructs segmentation. N proposals, C classes, P positive classes, h x w feature grid."""

import torch
from torch import Tensor

from sdcn_core.structures.labels import present_classes


@torch.no_grad()
def detection_heatmap(scores: Tensor, cells: Tensor, image_labels: Tensor, *, height: int, width: int) -> Tensor:
    """Where the detector sees each class: every proposal gives its score to the cells it covers, eq. (21).

    Each channel is divided by its maximum. A score enters at two corners of its box and leaves at the other two, and
    two running sums spread it, so that the cost does not depend on the size of the boxes.

    Args:
        scores: D without its background column, (N, C) in [0, 1].
        cells: the proposals on the grid, (N, 4) int64 xyxy in cells, half-open, inside the grid, N >= 1.
        image_labels: (C,) 0 or 1.
        height: h.
        width: w.

    Returns:
        (C, h, w) in [0, 1], of the scores' dtype, without gradient; zero for an absent class, and for a class whose
        scores are all zero.
    """
    positive = present_classes(image_labels)[:-1]  # (P,)
    pitch = width + 1
    x1, y1, x2, y2 = cells.unbind(1)
    corners = torch.cat([y1 * pitch + x1, y2 * pitch + x2, y1 * pitch + x2, y2 * pitch + x1])  # (4N,)
    # In double: what entered must leave without a trace, or uncovered cells would glow.
    shares = scores[:, positive].double()  # (N, P)
    steps = shares.new_zeros((height + 1) * pitch, len(positive))
    steps.index_add_(0, corners, torch.cat([shares, shares, -shares, -shares]))
    heat = steps.view(height + 1, pitch, len(positive)).cumsum(dim=0).cumsum(dim=1)[:height, :width]  # (h, w, P)
    heat = heat.clamp(min=0)
    peak = heat.amax(dim=(0, 1))  # (P,)
    heatmaps = scores.new_zeros(len(image_labels), height, width)
    heatmaps[positive] = (heat / torch.where(peak > 0, peak, 1)).permute(2, 0, 1).to(scores.dtype)
    return heatmaps


@torch.no_grad()
def background_heatmap(heat: Tensor) -> Tensor:
    """Where the detector sees no class, eq. (22): (C, h, w) in [0, 1] -> (h, w) in [0, 1], without gradient."""
    return 1 - heat.amax(dim=0)
