"""Overlap of boxes in float64: an overlap of exactly 1/2 comes out as exactly 1/2, on its own side of a threshold."""

import numpy as np
from numpy.typing import NDArray


def box_overlaps(boxes: NDArray[np.floating], others: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pairwise IoU (N, M) in [0, 1] of boxes (N, 4) and others (M, 4), xyxy px half-open; boxes of no
    area overlap nothing.

    >>> box_overlaps(np.array([[0.0, 0.0, 2.0, 1.0]]), np.array([[1.0, 0.0, 2.0, 1.0]])).tolist()
    [[0.5]]
    """
    a = np.asarray(boxes, dtype=np.float64)
    b = np.asarray(others, dtype=np.float64)
    widths = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])  # (N, M)
    heights = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    inside = np.maximum(widths, 0.0) * np.maximum(heights, 0.0)
    areas_a = (a[:, 2] - a[:, 0]) * (a[:, 3] - a[:, 1])
    areas_b = (b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1])
    union = areas_a[:, None] + areas_b[None, :] - inside
    return np.divide(inside, union, out=np.zeros_like(inside), where=union > 0)
