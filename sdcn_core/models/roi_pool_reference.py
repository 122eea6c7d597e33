"""RoI max pooling in plain torch: the form that the others must equal, and the one that runs where they cannot."""

import torch
from torch import Tensor

from sdcn_core.models.roi_bins import RoiBins


def forward(cells: Tensor, bins: RoiBins, batch_index: Tensor, *, keep_argmax: bool) -> tuple[Tensor, Tensor | None]:
    """Maxima of all bins.

    Args:
        cells: the maps, channels last, (B, h, w, D), contiguous.
        bins: of R boxes, (R, g, 2) each.
        batch_index: (R,) int64, the map of each box.
        keep_argmax: whether the second result is wanted.

    Returns:
        Values (R, D, g, g), 0 in empty bins; and the cell each came from, y * w + x, (R, g * g, D) int32: the first in
        row-major order where several are equal, -1 in empty bins; or None.
    """
    num_boxes, grid = bins.rows.shape[:2]
    _, height, width, depth = cells.shape
    flat = cells.reshape(-1, depth)
    top = bins.rows[:, :, None, 0].expand(-1, -1, grid).flatten().long()  # (R * g * g), so are the next ones
    bottom = bins.rows[:, :, None, 1].expand(-1, -1, grid).flatten().long()
    left = bins.columns[:, None, :, 0].expand(-1, grid, -1).flatten().long()
    right = bins.columns[:, None, :, 1].expand(-1, grid, -1).flatten().long()
    image = batch_index.repeat_interleave(grid * grid) * (height * width)

    values = cells.new_zeros(num_boxes * grid * grid, depth)
    argmax = torch.full(values.shape, -1, dtype=torch.int32, device=cells.device) if keep_argmax else None
    # One step a cell of the largest bin, for all bins that have such a cell at once, in row-major order.
    for y in range(_largest(bottom - top)):
        for x in range(_largest(right - left)):
            places = torch.nonzero((top + y < bottom) & (left + x < right)).flatten()
            here = (top[places] + y) * width + left[places] + x
            candidates = flat[image[places] + here]
            known = values[places]
            better = torch.ones_like(candidates, dtype=torch.bool) if x == y == 0 else candidates > known
            values[places] = torch.where(better, candidates, known)
            if argmax is not None:
                argmax[places] = torch.where(better, here[:, None].int(), argmax[places])
    pooled = values.view(num_boxes, grid * grid, depth).transpose(1, 2).reshape(num_boxes, depth, grid, grid)
    return pooled.contiguous(), None if argmax is None else argmax.view(num_boxes, grid * grid, depth)


def backward(gradient: Tensor, argmax: Tensor, batch_index: Tensor, cells_shape: torch.Size) -> Tensor:
    """Gradient of the maps, channels last, (B, h, w, D).

    Args:
        gradient: of the values, (R, D, g, g).
        argmax: from `forward`.
        batch_index: as given to `forward`.
        cells_shape: (B, h, w, D).
    """
    batch, height, width, depth = cells_shape
    spread = gradient.flatten(2).transpose(1, 2)  # (R, g * g, D)
    kept = spread * (argmax >= 0)
    target = argmax.clamp(min=0).long() + (batch_index * height * width)[:, None, None]
    cells_gradient = gradient.new_zeros(batch * height * width, depth)
    cells_gradient.scatter_add_(0, target.reshape(-1, depth), kept.reshape(-1, depth))
    return cells_gradient.view(cells_shape)


def _largest(sizes: Tensor) -> int:
    return int(sizes.max()) if sizes.numel() else 0
