"""Boxes, tags and text on an image, in place. Images are (H, W, 3) uint8 RGB; boxes are xyxy px, half-open."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]
"""xyxy px, half-open"""

INK: Colour = (28, 28, 32)
WHITE: Colour = (255, 255, 255)
PAPER: Colour = (246, 246, 243)
JPEG_QUALITY = 90

_TAG_TEXT_PX = 13
_TAG_HEIGHT_PX = 18
_DASH_PX = 7


@dataclass(frozen=True)
class Entry:
    """Words after a square of their colour; without a colour words alone."""

    text: str
    colour: Colour | None = None


@dataclass(frozen=True)
class Label:
    """A line of text that belongs to a box."""

    box: Rectangle
    text: str
    colour: Colour


def class_colours(count: int) -> tuple[Colour, ...]:
    """One colour a class, all round the wheel; neighbours on the wheel differ in brightness too."""
    shades = ((0.85, 1.0), (0.80, 0.72))
    colours = (colorsys.hsv_to_rgb(k / count, *shades[k % 2]) for k in range(count))
    return tuple((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in colours)


def text_width(text: str, size_px: int, *, weight: int = 400) -> int:
    return int(cv2.getTextSize((0, 0), text, (0, 0), _font(), size_px, weight)[2])


def draw_text(
    image: Image, text: str, x: int, baseline: int, size_px: int, colour: Colour, *, weight: int = 400
) -> None:
    cv2.putText(image, text, (x, baseline), colour, _font(), size_px, weight, cv2.PUT_TEXT_ALIGN_LEFT, (0, 1 << 20))


def shorten(text: str, size_px: int, limit_px: int, *, weight: int = 400) -> str:
    """The text, or as much of its beginning as fits, with an ellipsis."""
    if text_width(text, size_px, weight=weight) <= limit_px:
        return text
    while text and text_width(text + "…", size_px, weight=weight) > limit_px:
        text = text[:-1]
    return text.rstrip() + "…"


def draw_box(image: Image, box: Rectangle, colour: Colour, line_px: int) -> None:
    """A frame whose outer edge is the box's, so that a box at the image's edge is seen whole; a tiny box is filled."""
    x1, y1, x2, y2 = box
    for inset in range(min(line_px, (x2 - x1 + 1) // 2, (y2 - y1 + 1) // 2)):
        cv2.rectangle(image, (x1 + inset, y1 + inset), (x2 - 1 - inset, y2 - 1 - inset), colour, 1)


def draw_rimmed_box(image: Image, box: Rectangle, colour: Colour, *, dashed: bool = False) -> None:
    """A line of the colour between two thin dark ones, so that it is seen on any ground; `dashed` leaves gaps."""
    framed = image.copy() if dashed else image
    x1, y1, x2, y2 = box
    draw_box(framed, box, INK, 6)
    draw_box(framed, (x1 + 1, y1 + 1, x2 - 1, y2 - 1), colour, 4)
    if dashed:
        rows, columns = np.indices(image.shape[:2])
        drawn = (rows + columns) // _DASH_PX % 3 > 0
        image[drawn] = framed[drawn]


def entries_height(entries: Sequence[Entry], size_px: int, width_px: int) -> int:
    """Height of the lines that `draw_entries` fills."""
    places = _flow(entries, size_px, width_px)
    return (places[-1][1] + 1) * _line_height(size_px) if places else 0


def draw_entries(image: Image, entries: Sequence[Entry], x: int, y: int, size_px: int, width_px: int) -> None:
    """Entries one after the other from (x, y), top left, on as many lines as they need."""
    for entry, (left, line) in zip(entries, _flow(entries, size_px, width_px), strict=True):
        top = y + line * _line_height(size_px)
        at = x + left
        if entry.colour is not None:
            square = size_px - 3
            cv2.rectangle(image, (at, top + 4), (at + square, top + 4 + square), entry.colour, cv2.FILLED)
            at += size_px + 3
        text = shorten(entry.text, size_px, x + width_px - at)
        draw_text(image, text, at, top + size_px + 1, size_px, INK)


def _flow(entries: Sequence[Entry], size_px: int, width_px: int) -> list[tuple[int, int]]:
    """Left edge, px, and line of each entry."""
    places: list[tuple[int, int]] = []
    x, line = 0, 0
    for entry in entries:
        width = text_width(entry.text, size_px) + (0 if entry.colour is None else size_px + 3)
        if x > 0 and x + width > width_px:
            x, line = 0, line + 1
        places.append((x, line))
        x += width + size_px
    return places


def _line_height(size_px: int) -> int:
    return round(1.5 * size_px)


def draw_labels(image: Image, labels: list[Label]) -> None:
    """A tag at each box: above it, else inside its top or bottom, or below, where no earlier tag stands if possible."""
    height, width = image.shape[:2]
    placed: list[Rectangle] = []
    for label in labels:
        x1, y1, _, y2 = label.box
        tag_width = text_width(label.text, _TAG_TEXT_PX, weight=600) + 8
        left = min(max(x1, 0), max(width - tag_width, 0))
        tops = (y1 - _TAG_HEIGHT_PX, y1, y2 - _TAG_HEIGHT_PX, y2, *range(0, height - _TAG_HEIGHT_PX, _TAG_HEIGHT_PX))
        inside = [
            (left, top, left + tag_width, top + _TAG_HEIGHT_PX) for top in tops if 0 <= top <= height - _TAG_HEIGHT_PX
        ]
        free = [place for place in inside if not any(_touch(place, other) for other in placed)]
        place = (free or inside or [(left, 0, left + tag_width, _TAG_HEIGHT_PX)])[0]
        placed.append(place)
        cv2.rectangle(image, place[:2], (place[2] - 1, place[3] - 1), label.colour, cv2.FILLED)
        ink = INK if _luminance(label.colour) > 0.45 else WHITE
        draw_text(image, label.text, place[0] + 4, place[1] + 14, _TAG_TEXT_PX, ink, weight=600)


def write_picture(image: Image, path: Path) -> None:
    """Encode an image as its file's name says: .png or .jpg.

    Raises:
        ValueError: another kind of file.
    """
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ValueError(f"cannot write a picture as {path.name!r}: name it .png or .jpg")
    options = [] if path.suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    _, encoded = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    path.write_bytes(encoded.tobytes())


def _touch(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _luminance(colour: Colour) -> float:
    red, green, blue = colour
    return (0.299 * red + 0.587 * green + 0.114 * blue) / 255


@cache
def _font() -> Any:  # noqa: ANN401  cv2 ships no types
    return cv2.FontFace("sans")
