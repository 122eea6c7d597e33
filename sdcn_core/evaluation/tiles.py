"""One image as a page shows it: enlarged, with boxes or a segmentation map on it. No word ever stands on the image.

C classes, h x w the grid of a map, H x W an image's pixels. Coordinates are xyxy px of the image, half-open.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcn_core.evaluation.drawing import INK, WHITE, Colour, Image, Rectangle, draw_rimmed_box
from sdcn_core.evaluation.predictions import ClassMap

TILE_PX = 300
"""longest side of an image on a page"""
_TINT = 0.6
"""share of the class's colour where a map says the class"""


def enlarged(image: Image) -> Image:
    """The image with TILE_PX as its longest side; small ones grow, large ones shrink."""
    factor = TILE_PX / max(image.shape[:2])
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    drawn = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA)
    return np.asarray(drawn, np.uint8)


def boxes_tile(image: Image, boxes: NDArray[np.float32], colours: Sequence[Colour], dashed: Sequence[bool]) -> Image:
    """The image with its boxes (M, 4); the first is drawn last, on top."""
    tile = enlarged(image)
    height, width = tile.shape[:2]
    factor = TILE_PX / max(image.shape[:2])
    for box, colour, gaps in reversed(list(zip(boxes, colours, dashed, strict=True))):
        x1, y1, x2, y2 = (round(float(edge) * factor) for edge in box)
        place: Rectangle = (max(x1, 0), max(y1, 0), min(x2, width), min(y2, height))
        draw_rimmed_box(tile, place, colour, dashed=gaps)
    return tile


def map_tile(image: Image, grid: ClassMap, colours: Sequence[Colour], mask: NDArray[np.integer] | None = None) -> Image:
    """The image in grey under its segmentation map, classes in their colours, with the drawn mask as a white outline.

    Args:
        image: (H, W, 3) RGB.
        grid: (h, w), background C; its borders are smoothed between cells.
        colours: (C,).
        mask: (H, W), class or background C or VOID; None: nobody drew one.
    """
    tile = enlarged(image)
    height, width = tile.shape[:2]
    grey = cv2.cvtColor(cv2.cvtColor(tile, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.float32)
    painted = 0.55 * grey + 0.45 * 255
    present = np.unique(grid)
    covers = np.stack([cv2.resize((grid == c).astype(np.float32), (width, height)) for c in present])  # (K, H', W')
    strongest = present[covers.argmax(axis=0)]  # (H', W')
    for c in present[present < len(colours)]:
        region = strongest == c
        painted[region] = (1 - _TINT) * grey[region] + _TINT * np.array(colours[c], np.float32)
    drawn = np.clip(painted.round(), 0, 255).astype(np.uint8)
    if mask is not None:
        _outline(drawn, mask, len(colours))
    return drawn


def _outline(tile: Image, mask: NDArray[np.integer], num_classes: int) -> None:
    height, width = tile.shape[:2]
    for c in np.unique(mask[(mask >= 0) & (mask < num_classes)]):
        region = cv2.resize((mask == c).astype(np.float32), (width, height)) > 0.5
        contours, _ = cv2.findContours(region.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, contours, -1, INK, 3)
        cv2.drawContours(tile, contours, -1, WHITE, 1)
