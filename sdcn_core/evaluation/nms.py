"""Non-maximum suppression: of boxes that overlap, the best stays. N boxes of one class in one image."""

import numpy as np
from numpy.typing import NDArray

from sdcn_core.evaluation.overlaps import box_overlaps


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
    order = np.argsort(-scores, kind="stable")
    overlapping = box_overlaps(boxes[order], boxes[order]) >= iou  # (N, N), best first
    alive = np.ones(len(order), dtype=bool)
    for rank in range(len(order)):
        if alive[rank]:
            alive[rank + 1 :] &= ~overlapping[rank, rank + 1 :]
    return order[alive].astype(np.int64)
