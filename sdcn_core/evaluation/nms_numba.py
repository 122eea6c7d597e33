"""Greedy suppression as compiled loops. Importing this module needs numba; nms.py does where it is present."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdcn_core.compiled import compiled


@compiled(parallel=False)
def survivors(boxes: NDArray[Any], iou: float) -> NDArray[Any]:
    """Which of the boxes no better survivor overlaps by `iou` or more, (N,) bool; overlaps as of `box_overlaps`, sum
    for sum.

    Args:
        boxes: (N, 4) float64 xyxy px, half-open, best first.
        iou: threshold in (0, 1].
    """
    count = len(boxes)
    alive = np.zeros(count, np.bool_)
    kept = np.empty(count, np.int64)
    areas = np.empty(count, np.float64)
    num_kept = 0
    for box in range(count):
        x1, y1, x2, y2 = boxes[box, 0], boxes[box, 1], boxes[box, 2], boxes[box, 3]
        area = (x2 - x1) * (y2 - y1)
        survives = True
        for place in range(num_kept):
            other = kept[place]
            width = min(boxes[other, 2], x2) - max(boxes[other, 0], x1)
            height = min(boxes[other, 3], y2) - max(boxes[other, 1], y1)
            if width <= 0.0 or height <= 0.0:
                continue
            inside = width * height
            union = areas[other] + area - inside
            if union > 0.0 and inside / union >= iou:
                survives = False
                break
        if survives:
            alive[box] = True
            areas[box] = area
            kept[num_kept] = box
            num_kept += 1
    return alive
