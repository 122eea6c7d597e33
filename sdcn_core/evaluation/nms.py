"""Non-maximum suppression: of boxes that overlap, the best stays. N boxes of one class in one image.

Two forms of one function, equal bit for bit: loops compiled by numba, and numpy where that is not installed.
"""

import functools
import importlib
import importlib.util
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sdcn_core.evaluation.overlaps import box_overlaps

Survivors = Callable[[NDArray[np.float64], float], NDArray[np.bool_]]
"""Boxes (N, 4), best first, and the threshold -> which of them stay, (N,)."""

_BLOCK = 128
"""So many of the best are compared all with all; they leave little of the rest, so N x N overlaps are not needed."""


def non_maximum_suppression(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], *, iou: float, survivors: Survivors | None = None
) -> NDArray[np.int64]:
    """The boxes that no better kept box overlaps by `iou` or more (Fast R-CNN's rule: at the threshold is over it).

    Args:
        boxes: (N, 4) xyxy px, half-open.
        scores: (N,); among equals the earlier box is the better one.
        iou: threshold in (0, 1].
        survivors: the form; None takes the fastest that is present.

    Returns:
        (K,) indices of the kept boxes, best first; empty for no boxes.
    """
    best_first = np.argsort(-scores, kind="stable")
    ordered = np.ascontiguousarray(boxes[best_first], dtype=np.float64)
    return best_first[(survivors or fastest_survivors())(ordered, iou)]


@functools.cache
def fastest_survivors() -> Survivors:
    """The compiled form where numba is installed."""
    if importlib.util.find_spec("numba") is None:
        return survivors_by_blocks
    form: Survivors = importlib.import_module("sdcn_core.evaluation.nms_numba").survivors
    return form


def survivors_by_blocks(boxes: NDArray[np.float64], iou: float) -> NDArray[np.bool_]:
    """See Survivors; in numpy, a block of the best after another."""
    stays = np.zeros(len(boxes), dtype=bool)
    left = np.arange(len(boxes))
    while len(left) > 0:
        block, left = left[:_BLOCK], left[_BLOCK:]
        apart = box_overlaps(boxes[block], boxes[block]) < iou
        alive = np.ones(len(block), dtype=bool)
        for rank in range(len(block)):
            if alive[rank]:
                alive[rank + 1 :] &= apart[rank, rank + 1 :]
        stays[block[alive]] = True
        if len(left) > 0:
            left = left[(box_overlaps(boxes[block[alive]], boxes[left]) < iou).all(axis=0)]
    return stays
