"""Pixels and boxes moved together: scale, mirror, thin out. N boxes, always xyxy px, half-open.

All here is numpy: images (H, W, 3) uint8 RGB, boxes (N, 4) float32.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Boxes = NDArray[np.float32]


def scale_factor(height: int, width: int, *, side_px: int | None, side: str, max_side_px: int) -> float:
    """By how much an image grows so that its `side` ("shortest" or "longest") has side_px and none exceeds max_side_px.

    >>> scale_factor(300, 400, side_px=600, side="shortest", max_side_px=2000)
    2.0
    >>> scale_factor(300, 400, side_px=600, side="shortest", max_side_px=600)
    1.5
    """
    factor = 1.0
    if side_px is not None:
        factor = side_px / (min(height, width) if side == "shortest" else max(height, width))
    if round(factor * max(height, width)) > max_side_px:
        factor = max_side_px / max(height, width)
    return factor


def resize(image: Image, boxes: Boxes, factor: float) -> tuple[Image, Boxes]:
    """Image and boxes scaled by the factor, bilinearly; each box stays inside and keeps at least one pixel."""
    height, width = image.shape[:2]
    new_height, new_width = max(1, round(height * factor)), max(1, round(width * factor))
    if (new_height, new_width) != (height, width):
        image = np.asarray(cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR), np.uint8)
    scale = np.array([new_width / width, new_height / height] * 2, np.float32)
    return image, _kept_inside(boxes * scale, new_height, new_width)


def flip(image: Image, boxes: Boxes) -> tuple[Image, Boxes]:
    """The mirror image."""
    width = image.shape[1]
    mirrored = boxes[:, [2, 1, 0, 3]].copy()
    mirrored[:, [0, 2]] = width - mirrored[:, [0, 2]]
    return np.ascontiguousarray(image[:, ::-1]), mirrored


def distinct(boxes: Boxes, cell_px: float) -> NDArray[np.int64]:
    """Positions, ascending, of the first box of each group whose edges round to the same multiples of cell_px.

    >>> distinct(np.array([[0, 0, 16, 16], [1, 1, 17, 17], [0, 0, 32, 32]], np.float32), 8.0).tolist()
    [0, 2]
    """
    cells = np.round(boxes / cell_px).astype(np.int64)
    return np.sort(np.unique(cells, axis=0, return_index=True)[1])


def _kept_inside(boxes: Boxes, height: int, width: int) -> Boxes:
    first = np.clip(boxes[:, :2], 0, (width - 1, height - 1))
    last = np.clip(boxes[:, 2:], first + 1, (width, height))
    return np.concatenate([first, last], axis=1).astype(np.float32)
