"""A page of images with what is in them and what was found, to be looked at by a person."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcn_core.evaluation.drawing import (
    INK,
    PAPER,
    WHITE,
    Colour,
    Entry,
    Image,
    Label,
    Rectangle,
    class_colours,
    draw_box,
    draw_entries,
    draw_labels,
    draw_text,
    entries_height,
    shorten,
    write_picture,
)
from sdcn_core.structures.annotation import NO_BOXES, Annotation, Detections, Truth, known_objects

_TILE_PX = 300
_CAPTION_PX = 24
_MARGIN_PX = 20
_COLUMNS = 4
_MOST_BOXES = 6
_TEXT_PX = 14


@dataclass(frozen=True)
class _Shown:
    """The detections of one image that are drawn, best first, and from which score on they are drawn strong."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]
    strong: NDArray[np.bool_]


def detections_picture(
    images: Sequence[NDArray[np.uint8]],
    truths: Sequence[Truth],
    detections: Sequence[Detections],
    classes: Sequence[str],
    path: Path,
    *,
    title: str = "Detections",
) -> None:
    """Draw images in a grid, each with its objects (white) and its detections (class colour, name, score), into a file.

    Which detections: over the whole page as many as it has objects, the best first, and of every image the best one
    even if it is not among them, in a thinner line; at most six an image. Scores alone decide, not what is right. Where
    nobody drew boxes, labels count as objects.

    Args:
        images: (H, W, 3) RGB each; small ones are enlarged, large ones reduced to the same tile.
        truths: one an image.
        detections: one an image, boxes in pixels of the image.
        classes: names, by class index.
        path: ends in .png or .jpg; the folder exists.
        title: first line of the page.

    Raises:
        ValueError: no image, not as many truths or detections as images, or another kind of file.
    """
    if not images:
        raise ValueError("a picture of detections needs at least one image")
    floor = _score_floor(detections, count=sum(len(known_objects(truth)) for truth in truths))
    colours = class_colours(len(classes))
    shown = [_choose(found, floor) for found in detections]
    grid = _grid([_tile(*one, classes, colours) for one in zip(images, truths, shown, strict=True)])
    named = {c for truth in truths for c in known_objects(truth)} | {int(c) for s in shown for c in s.classes}
    has_boxes = any(isinstance(truth, Annotation) for truth in truths)
    legend = [(classes[c], colours[c]) for c in sorted(named)]
    header = _header(grid.shape[1], title, floor, legend, has_boxes=has_boxes)
    write_picture(np.concatenate([header, grid]), path)


def _score_floor(detections: Sequence[Detections], *, count: int) -> float:
    """The `count`-th best score of the page; infinity for none."""
    scores = np.sort(np.concatenate([found.scores for found in detections]))[::-1]
    return float(scores[min(count, len(scores)) - 1]) if count and len(scores) else float("inf")


def _choose(found: Detections, floor: float) -> _Shown:
    order = np.argsort(-found.scores, kind="stable")[:_MOST_BOXES]
    strong = found.scores[order] >= floor
    order = order[: max(1, int(strong.sum()))]
    return _Shown(found.boxes[order], found.scores[order], found.classes[order], strong[: len(order)])


def _tile(image: Image, truth: Truth, shown: _Shown, classes: Sequence[str], colours: Sequence[Colour]) -> Image:
    """One image with its boxes, its longest side _TILE_PX, and its caption below."""
    factor = _TILE_PX / max(image.shape[:2])
    height, width = (max(1, round(side * factor)) for side in image.shape[:2])
    drawn = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA)

    def placed(box: NDArray[np.float32]) -> Rectangle:
        x1, y1, x2, y2 = (round(float(edge) * factor) for edge in box)
        return max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)

    for box in truth.boxes if isinstance(truth, Annotation) else NO_BOXES:
        x1, y1, x2, y2 = placed(box)
        draw_box(drawn, (x1, y1, x2, y2), INK, 5)
        draw_box(drawn, (x1 + 1, y1 + 1, x2 - 1, y2 - 1), WHITE, 3)
    labels = []
    # the best last, on top
    for box, score, c, strong in reversed(
        list(zip(shown.boxes, shown.scores, shown.classes, shown.strong, strict=True))
    ):
        draw_box(drawn, placed(box), colours[c], 3 if strong else 1)
        labels.append(Label(placed(box), f"{classes[c]} {score:.2f}", colours[c]))
    draw_labels(drawn, labels[::-1])

    tile = np.full((height + _CAPTION_PX, _TILE_PX, 3), PAPER, dtype=np.uint8)
    tile[:height, :width] = drawn
    counts = Counter(classes[c] for c in known_objects(truth))
    nothing = "no object" if isinstance(truth, Annotation) else "no label"
    contents = ", ".join(name if n == 1 else f"{n} {name}" for name, n in counts.items()) or nothing
    caption = shorten(f"{truth.image_id}: {contents}", _TEXT_PX, _TILE_PX)
    draw_text(tile, caption, 0, height + 18, _TEXT_PX, INK)
    return tile


def _grid(tiles: Sequence[Image]) -> Image:
    # two columns' width even for one tile, so that the header has room
    columns = max(2, min(_COLUMNS, len(tiles)))
    rows = []
    for first in range(0, len(tiles), columns):
        of_row = tiles[first : first + columns]
        height = max(tile.shape[0] for tile in of_row) + _MARGIN_PX
        row = np.full((height, columns * (_TILE_PX + _MARGIN_PX) + _MARGIN_PX, 3), PAPER, dtype=np.uint8)
        for k, tile in enumerate(of_row):
            left = k * (_TILE_PX + _MARGIN_PX) + _MARGIN_PX
            row[: tile.shape[0], left : left + _TILE_PX] = tile
        rows.append(row)
    return np.concatenate(rows)


def _header(width: int, title: str, floor: float, legend: Sequence[tuple[str, Colour]], *, has_boxes: bool) -> Image:
    """Title, how to read the boxes, and the classes with their colours, in as many lines as they need."""
    room = width - 2 * _MARGIN_PX
    entries = [Entry(name, colour) for name, colour in legend]
    height = 112 + entries_height(entries, _TEXT_PX, room)
    page = np.full((height, width, 3), PAPER, dtype=np.uint8)
    draw_text(page, shorten(title, 24, room), _MARGIN_PX, 40, 24, INK, weight=700)
    if has_boxes:
        draw_box(page, (_MARGIN_PX, 54, _MARGIN_PX + 24, 70), INK, 5)
        draw_box(page, (_MARGIN_PX + 1, 55, _MARGIN_PX + 23, 69), WHITE, 3)
        draw_text(page, "object, its class below the image", _MARGIN_PX + 32, 67, _TEXT_PX, INK)
    else:
        draw_text(page, "no boxes: only labels are known, below the image", _MARGIN_PX, 67, _TEXT_PX, INK)
    rule = f"colour: found, as many boxes as {'objects' if has_boxes else 'labels'}"
    rule += f" (score {floor:.2f} and over); thin: lower, but an image's best" if np.isfinite(floor) else ""
    draw_text(page, shorten(rule, _TEXT_PX, room), _MARGIN_PX, 91, _TEXT_PX, INK)
    draw_entries(page, entries, _MARGIN_PX, 100, _TEXT_PX, room)
    return page
