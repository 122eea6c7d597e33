"""A page on which what networks found on the same images stands side by side: figures 3 and 7."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdcn_core.evaluation.drawing import (
    INK,
    PAPER,
    Colour,
    Entry,
    Image,
    class_colours,
    draw_entries,
    draw_text,
    entries_height,
    shorten,
    write_picture,
)
from sdcn_core.evaluation.predictions import ClassMap
from sdcn_core.evaluation.shown_boxes import matched_overlaps
from sdcn_core.evaluation.tiles import TILE_PX, boxes_tile, map_tile
from sdcn_core.structures.annotation import NO_BOXES, Annotation, Detections, Truth, known_objects

FITS_IOU = 0.5
"""a box that overlaps its object by more has no gaps"""
_MARGIN_PX = 20
_GAP_PX = 6
_TEXT_PX = 15
_HEADING_PX = 18
_TITLE_PX = 24
_NEUTRAL: Colour = (150, 150, 150)
"""of words below boxes whose colour says nothing of their class"""


@dataclass(frozen=True)
class Column:
    """What one network found on each image of a page."""

    title: str
    contents: Sequence[Detections | ClassMap | None]
    """one an image: detections, all of which are drawn; or a segmentation map (h, w) with background C; or nothing"""
    colour: Colour | None = None
    """of the boxes, shown beside the title; None: each in the colour of its class"""
    subtitle: str = ""
    """second line over the column"""


@dataclass(frozen=True)
class Section:
    """Consecutive images of a page under one heading."""

    heading: str
    count: int


@dataclass(frozen=True)
class _Cell:
    picture: Image
    caption: list[Entry]


def comparison_page(
    images: Sequence[Image],
    truths: Sequence[Truth],
    columns: Sequence[Column],
    classes: Sequence[str],
    path: Path,
    *,
    title: str,
    notes: Sequence[str] = (),
    masks: Sequence[NDArray[np.int16] | None] | None = None,
    sections: Sequence[Section] = (),
) -> None:
    """Draw a row an image: the image with its objects, then what each column holds; all words stand below the images.

    Where nobody drew boxes the image's labels stand in their place, and detections are judged by nothing. Elsewhere a
    box has gaps where it does not overlap an object of its class by more than FITS_IOU, or stands second to a box
    that fits that object better. The number in brackets is its IoU with its object. Squares beside words are in colours
    of classes, but for the one beside a column's title, which is the colour of its boxes.

    Args:
        images: (H, W, 3) RGB each; small ones are enlarged, large ones reduced.
        truths: one an image.
        columns: from left to right, after that of the ground truth.
        classes: names, by class index.
        path: ends in .jpg or .png; the folder exists.
        title: first line of the page.
        notes: further lines.
        masks: one an image, (H, W), outlined in white on segmentation maps; None: there are none.
        sections: headings between rows; their counts add up to the images. Empty: no headings.

    Raises:
        ValueError: no image, not as many truths, contents, masks or counts, or another kind of file.
    """
    if not images:
        raise ValueError("a comparison needs at least one image")
    if sections and sum(section.count for section in sections) != len(images):
        raise ValueError(f"sections of {[section.count for section in sections]} rows cannot hold {len(images)} images")
    palette = dict(zip(classes, class_colours(len(classes)), strict=True))
    drawn_masks = masks if masks is not None else [None] * len(images)
    has_boxes = any(isinstance(truth, Annotation) for truth in truths)
    rows = []
    for row in zip(images, truths, drawn_masks, *(column.contents for column in columns), strict=True):
        image, truth, mask, *contents = row
        cells = [_truth(image, truth, palette)]
        for column, content in zip(columns, contents, strict=True):
            cells.append(_cell(content, column, image, truth, mask, palette))
        rows.append(_row(cells))
    width = rows[0].shape[1]
    parts = [_header(width, title, [*notes, *_how_to_read(columns, masks is not None, has_boxes)], palette)]
    for section in sections or [Section("", len(rows))]:
        if section.count:
            parts += [_line(width, section.heading, _HEADING_PX, weight=700)] if section.heading else []
            parts += [_titles(width, columns), *rows[: section.count]]
            rows = rows[section.count :]
    write_picture(np.concatenate(parts), path)


def _truth(image: Image, truth: Truth, palette: dict[str, Colour]) -> _Cell:
    names, colours = list(palette), list(palette.values())
    boxes = truth.boxes if isinstance(truth, Annotation) else NO_BOXES
    known = known_objects(truth)
    tile = boxes_tile(image, boxes, [colours[c] for c in known[: len(boxes)]], [False] * len(boxes))
    counts = Counter(names[c] for c in known)
    objects = [Entry(name if n == 1 else f"{n} × {name}", palette[name]) for name, n in counts.items()]
    nothing = "no object" if isinstance(truth, Annotation) else "no label"
    return _Cell(tile, [*(objects or [Entry(nothing)]), Entry(truth.image_id)])


def _cell(
    content: Detections | ClassMap | None,
    column: Column,
    image: Image,
    truth: Truth,
    mask: NDArray[np.int16] | None,
    palette: dict[str, Colour],
) -> _Cell:
    names, colours = list(palette), list(palette.values())
    if content is None:
        return _Cell(np.full((1, TILE_PX, 3), PAPER, np.uint8), [Entry("–")])
    if isinstance(content, np.ndarray):
        shares = [(c, float((content == c).mean())) for c in np.unique(content) if c < len(names)]
        covered = [Entry(f"{names[c]} {share:.0%}", colours[c]) for c, share in sorted(shares, key=lambda s: -s[1])]
        return _Cell(map_tile(image, content, colours, mask), covered or [Entry("background alone")])
    own = [column.colour or colours[c] for c in content.classes]
    words = [f"{names[c]} {score:.2f}" for c, score in zip(content.classes, content.scores, strict=True)]
    has_gaps = [False] * len(words)
    if isinstance(truth, Annotation):
        overlaps = matched_overlaps(content, truth)
        has_gaps = [bool(overlap <= FITS_IOU) for overlap in overlaps]
        words = [
            f"{said} ({overlap:.2f})" if overlap else f"{said} (–)"
            for said, overlap in zip(words, overlaps, strict=True)
        ]
    tile = boxes_tile(image, content.boxes, own, has_gaps)
    found = [
        Entry(said, colours[c] if column.colour is None else _NEUTRAL)
        for c, said in zip(content.classes, words, strict=True)
    ]
    return _Cell(tile, found or [Entry("nothing above the threshold")])


def _row(cells: Sequence[_Cell]) -> Image:
    tallest = max(cell.picture.shape[0] for cell in cells)
    caption = max(entries_height(cell.caption, _TEXT_PX, TILE_PX) for cell in cells)
    row = _paper(tallest + _GAP_PX + caption + _MARGIN_PX, _MARGIN_PX + len(cells) * (TILE_PX + _MARGIN_PX))
    for k, cell in enumerate(cells):
        left = _left(k)
        height, width = cell.picture.shape[:2]
        row[:height, left : left + width] = cell.picture
        draw_entries(row, cell.caption, left, tallest + _GAP_PX, _TEXT_PX, TILE_PX)
    return row


def _header(width: int, title: str, notes: Sequence[str], palette: dict[str, Colour]) -> Image:
    room = width - 2 * _MARGIN_PX
    legend = [Entry(name, colour) for name, colour in palette.items()]
    lines = [_line(width, title, _TITLE_PX, weight=700), *(_line(width, note, _TEXT_PX) for note in notes)]
    classes = _paper(entries_height(legend, _TEXT_PX, room) + _MARGIN_PX, width)
    draw_entries(classes, legend, _MARGIN_PX, _GAP_PX, _TEXT_PX, room)
    return np.concatenate([_paper(_GAP_PX, width), *lines, classes])


def _how_to_read(columns: Sequence[Column], with_masks: bool, has_boxes: bool) -> list[str]:
    lines = [
        f"below: class, score, (IoU with the object); gaps in a box: it fits no object by more than {FITS_IOU}"
        if has_boxes
        else "no boxes: only the images' labels are known; below: class, score"
    ]
    if any(column.colour is not None for column in columns):
        lines.append("boxes: in the colour beside their column's title where there is one, else in that of their class")
    if any(isinstance(content, np.ndarray) for column in columns for content in column.contents):
        outline = "; white outline: the drawn mask" if with_masks else ""
        lines.append(f"maps: the strongest class in its colour, background light; share of the image below{outline}")
    return lines


def _titles(width: int, columns: Sequence[Column]) -> Image:
    line_px = round(1.4 * _TEXT_PX)
    lines = 2 if any(column.subtitle for column in columns) else 1
    page = _paper(lines * line_px + _GAP_PX, width)
    for k, column in enumerate([Column("ground truth", ()), *columns]):
        indent_px = 0
        if column.colour is not None:
            draw_entries(page, [Entry("", column.colour)], _left(k), 0, _TEXT_PX, TILE_PX)
            indent_px = _TEXT_PX + 3
        title = shorten(column.title, _TEXT_PX, TILE_PX - indent_px, weight=600)
        draw_text(page, title, _left(k) + indent_px, _TEXT_PX + 1, _TEXT_PX, INK, weight=600)
        subtitle = shorten(column.subtitle, _TEXT_PX, TILE_PX)
        draw_text(page, subtitle, _left(k), line_px + _TEXT_PX, _TEXT_PX, INK)
    return page


def _line(width: int, text: str, size_px: int, *, weight: int = 400) -> Image:
    line = _paper(round(1.6 * size_px), width)
    draw_text(
        line,
        shorten(text, size_px, width - 2 * _MARGIN_PX, weight=weight),
        _MARGIN_PX,
        size_px + 2,
        size_px,
        INK,
        weight=weight,
    )
    return line


def _left(column: int) -> int:
    return _MARGIN_PX + column * (TILE_PX + _MARGIN_PX)


def _paper(height: int, width: int) -> Image:
    return np.full((height, width, 3), PAPER, np.uint8)
