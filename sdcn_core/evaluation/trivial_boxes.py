"""Boxes that look at nothing: what a detector must beat before it has localized anything.

Each image gets one box, the same for every class, and the class scores that the judged network gives the image, so that
they differ from its own detections in where the box is and in nothing else. N proposals of an image.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CENTRED_SIDE = 0.8
"""of the image's sides; of its area 0.64"""
LARGEST_SHARE = 0.9
"""a proposal that covers as much of the image as this is no better than the image"""

Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class TrivialBoxScores:
    """What one kind of trivial box reaches over two splits."""

    name: str
    """of TRIVIAL_BOXES"""
    mean_ap: float | None
    """in [0, 1]; None where AP cannot be counted"""
    mean_corloc: float | None
    """in [0, 1]; None where CorLoc cannot be counted"""


def whole_image(height: int, width: int, proposals: Boxes) -> Boxes:
    """The image's edge, (1, 4) xyxy px, half-open; where most photographs show one large object it is often right."""
    return np.array([[0, 0, width, height]], np.float32)


def centred_box(height: int, width: int, proposals: Boxes) -> Boxes:
    """The middle of the image, CENTRED_SIDE of each side, (1, 4) xyxy px, half-open."""
    margin = (1 - CENTRED_SIDE) / 2
    return np.array([[margin * width, margin * height, (1 - margin) * width, (1 - margin) * height]], np.float32)


def largest_proposal(height: int, width: int, proposals: Boxes) -> Boxes:
    """The largest proposal that covers less than LARGEST_SHARE of the image, the first among equals, (1, 4) xyxy px,
    half-open; where there is none, the centred box.

    >>> largest_proposal(10, 10, np.array([[0, 0, 10, 10], [1, 1, 9, 9], [0, 0, 2, 2]], np.float32)).tolist()
    [[1.0, 1.0, 9.0, 9.0]]
    """
    areas = (proposals[:, 2] - proposals[:, 0]) * (proposals[:, 3] - proposals[:, 1])  # (N,)
    small = np.flatnonzero(areas < LARGEST_SHARE * height * width)
    if len(small) == 0:
        return centred_box(height, width, proposals)
    return proposals[small[areas[small].argmax()]][None].astype(np.float32)


TRIVIAL_BOXES: Mapping[str, Callable[[int, int, Boxes], Boxes]] = {
    "whole_image": whole_image,
    "centred_box": centred_box,
    "largest_proposal": largest_proposal,
}
"""name in the results -> (height px, width px, proposals (N, 4)) -> box (1, 4)"""
