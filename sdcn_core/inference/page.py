"""A page of images with the boxes that were found in them, for a person who wants to see what a model does."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcn_core.evaluation.drawing import (
    INK,
    Colour,
    Image,
    Label,
    Rectangle,
    class_colours,
    draw_box,
    draw_labels,
    draw_text,
    shorten,
)
from sdcn_core.inference.prediction import FoundBox

_TILE_PX = 300
_CAPTION_PX = 24
_MARGIN_PX = 20
_HEADER_PX = 64
_COLUMNS = 4
_MOST_BOXES = 8
_TEXT_PX = 14
_PAPER: Colour = (246, 246, 243)


def predictions_page(
    shown: Iterable[tuple[str, NDArray[np.uint8], Sequence[FoundBox]]],
    classes: Sequence[str],
    path: Path,
    *,
    title: str,
) -> bool:
    """Draw images in a grid, each with its best boxes, at most eight, and their number below, into a PNG.

    Returns False, and writes nothing, where there is no image.

    Args:
        shown: name, pixels (H, W, 3) RGB and boxes, best first, of each image; one at a time is in memory.
        classes: all names that boxes may have; they decide the colours.
        path: of the file.
        title: first line of the page.
    """
    colours = dict(zip(classes, class_colours(len(classes)), strict=True))
    tiles = [_tile(*one, colours) for one in shown]
    if not tiles:
        return False
    columns = max(2, min(_COLUMNS, len(tiles)))  # two columns' width even for one tile: the title needs it
    rows = [_row(tiles[first : first + columns], columns) for first in range(0, len(tiles), columns)]
    header = np.full((_HEADER_PX, rows[0].shape[1], 3), _PAPER, dtype=np.uint8)
    draw_text(header, shorten(title, 24, header.shape[1] - 2 * _MARGIN_PX), _MARGIN_PX, 40, 24, INK, weight=700)
    page = np.concatenate([header, *rows])
    _, encoded = cv2.imencode(".png", cv2.cvtColor(page, cv2.COLOR_RGB2BGR))
    path.write_bytes(encoded.tobytes())
    return True


def _tile(name: str, image: Image, boxes: Sequence[FoundBox], colours: dict[str, Colour]) -> Image:
    factor = _TILE_PX / max(image.shape[:2])
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    drawn = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA)

    def placed(box: FoundBox) -> Rectangle:
        x1, y1, x2, y2 = (round(edge * factor) for edge in box.xyxy)
        return max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)

    best = boxes[:_MOST_BOXES]
    for box in reversed(best):  # the best last, on top
        draw_box(drawn, placed(box), colours[box.class_name], 3)
    draw_labels(
        drawn, [Label(placed(box), f"{box.class_name} {box.score:.2f}", colours[box.class_name]) for box in best]
    )
    tile = np.full((height + _CAPTION_PX, _TILE_PX, 3), _PAPER, dtype=np.uint8)
    tile[:height, :width] = drawn
    count = f"{len(boxes)} box{'' if len(boxes) == 1 else 'es'}"
    count += f", best {len(best)} shown" if len(boxes) > len(best) else ""
    draw_text(tile, shorten(f"{name}: {count}", _TEXT_PX, _TILE_PX), 0, height + 18, _TEXT_PX, INK)
    return tile


def _row(tiles: Sequence[Image], columns: int) -> Image:
    height = max(tile.shape[0] for tile in tiles) + _MARGIN_PX
    row = np.full((height, columns * (_TILE_PX + _MARGIN_PX) + _MARGIN_PX, 3), _PAPER, dtype=np.uint8)
    for k, tile in enumerate(tiles):
        left = k * (_TILE_PX + _MARGIN_PX) + _MARGIN_PX
        row[: tile.shape[0], left : left + _TILE_PX] = tile
    return row
