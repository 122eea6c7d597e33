"""Non-maximum suppression: of boxes that overlap, the best stays. N boxes of one class in one image."""

import numpy as np
from numpy.typing import NDArray

from sdcn_core.evaluation.overlaps import box_overlaps

_BLOCK = 128
"""So many of the best are compared all with all; they leave little of the rest, so N x N overlaps are not needed."""


def non_maximum_suppression(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], *, iou: float
) -> NDArray[np.int64]:
    """The boxes that no better kept box overlaps by `iou` or more (Fast R-CNN's rule: at the threshold is over it).

    Args:
        boxes: (N, 4) xyxy px, half-open.
        scores: (N,); among equals the earlier box is the better one.
        iou: threshold in (0, 1].

    Returns:
        (K,) indices of the kept boxes, best first; empty for no boxes.
    """
    left = np.argsort(-scores, kind="stable")
    kept = [np.zeros(0, dtype=np.int64)]
    while len(left) > 0:
        block, left = left[:_BLOCK], left[_BLOCK:]
        apart = box_overlaps(boxes[block], boxes[block]) < iou
        alive = np.ones(len(block), dtype=bool)
        for rank in range(len(block)):
            if alive[rank]:
                alive[rank + 1 :] &= apart[rank, rank + 1 :]
        kept.append(block[alive])
        if len(left) > 0:
            left = left[(box_overlaps(boxes[block[alive]], boxes[left]) < iou).all(axis=0)]
    return np.concatenate(kept)
