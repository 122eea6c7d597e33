"""One annotation file of Pascal VOC. Training reads names and flags; another function, for evaluation, reads boxes."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import ElementTree

from sdcn_core.errors import DatasetError
from sdcn_core.structures.annotation import Annotation

MAX_FILE_BYTES = 4 * 2**20
EDGE_TOLERANCE_PX = 1.0
"""A box may stick out of its image by this much, as 0-based or rounded coordinates do; it is cut at the edge."""


@dataclass(frozen=True)
class NamedObject:
    """That something is in the image."""

    name: str
    difficult: bool


@dataclass(frozen=True)
class LocatedObject:
    """What is where in the image."""

    name: str
    difficult: bool
    box: tuple[float, float, float, float]
    """xyxy px from 0, half-open, inside the image, of positive area"""


def read_named_objects(path: Path, *, height: int, width: int) -> tuple[NamedObject, ...]:
    """Names and flags of the objects, in file order; no coordinate is looked at.

    Args:
        path: the XML file.
        height: of the image, px; the XML must agree.
        width: of the image, px.

    Raises:
        DatasetError: the file is missing, too large or no annotation, or its <size> is absent or not the image's.
    """
    return tuple(_named(element, path) for element in _object_elements(path, height, width))


def read_objects(path: Path, *, height: int, width: int) -> tuple[NamedObject | LocatedObject, ...]:
    """The objects in file order, located where they have a <bndbox>; VOC's 1-based inclusive edges become 0-based
    half-open.

    Raises:
        DatasetError: as read_named_objects, and where a box is no number, empty, or outside the image by more than
            EDGE_TOLERANCE_PX.
    """
    objects: list[NamedObject | LocatedObject] = []
    for element in _object_elements(path, height, width):
        found = _named(element, path)
        if element.find("bndbox") is None:
            objects.append(found)
        else:
            objects.append(LocatedObject(found.name, found.difficult, _box(element, path, found.name, height, width)))
    return tuple(objects)


def read_located_objects(
    path: Path, *, height: int, width: int, named: Callable[[str], str] = str
) -> tuple[LocatedObject, ...]:
    """As read_objects, of a file in which every object has a box; `named` makes a class of what stands as a name.

    Raises:
        DatasetError: as read_objects, and where a box is absent.
    """
    located = []
    for found in read_objects(path, height=height, width=width):
        if not isinstance(found, LocatedObject):
            raise no_box(path, found.name)
        located.append(replace(found, name=named(found.name)))
    return tuple(located)


def no_box(path: Path, name: str) -> DatasetError:
    return DatasetError(f"annotation {path}: object {name!r} has no <bndbox>: add it or take the object out")


def as_annotation(image_id: str, objects: Iterable[LocatedObject], classes: Sequence[str]) -> Annotation:
    """The objects of these classes as evaluation knows them."""
    ours = [found for found in objects if found.name in classes]
    return Annotation(
        image_id,
        boxes=np.array([found.box for found in ours], np.float32).reshape(-1, 4),
        classes=np.array([classes.index(found.name) for found in ours], np.int64),
        difficult=np.array([found.difficult for found in ours], np.bool_),
    )


def _object_elements(path: Path, height: int, width: int) -> list[Element]:
    root = _parse(path)
    size = root.find("size")
    if size is None:
        raise DatasetError(
            f"annotation {path} has no <size>: add <size> with <width>{width}</width> <height>{height}</height>"
        )
    stated_width, stated_height = (_number(size, tag, path, "<size>") for tag in ("width", "height"))
    if (stated_width, stated_height) != (width, height):
        raise DatasetError(
            f"annotation {path} says that the image is {stated_width:g} x {stated_height:g} pixels, but it is {width} x"
            f" {height}: one of the two files belongs to another image or was resized; correct it"
        )
    return root.findall("object")  # direct children only


def _parse(path: Path) -> Element:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise DatasetError(
            f"annotation {path} cannot be read ({error.strerror}): put it there or take the image off the split list"
        ) from error
    if len(text) > MAX_FILE_BYTES:
        raise DatasetError(
            f"annotation {path} has more than {MAX_FILE_BYTES >> 20} MiB: that is no VOC annotation; replace it"
        )
    try:
        root: Element = ElementTree.fromstring(text)
    except (ParseError, ValueError, LookupError) as error:  # defusedxml's refusals are ValueErrors
        reason = str(error) or type(error).__name__
        raise DatasetError(f"annotation {path} is no well-formed XML ({reason}): correct or replace it") from error
    if root.tag != "annotation":
        raise DatasetError(f"annotation {path} starts with <{root.tag}>: a VOC annotation starts with <annotation>")
    return root


def _named(element: Element, path: Path) -> NamedObject:
    name = (element.findtext("name") or "").strip()
    if not name:
        raise DatasetError(f"annotation {path} has an <object> without <name>: name it or take it out")
    difficult = (element.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise DatasetError(f"annotation {path}: <difficult> of {name!r} is {difficult!r}: write 0 or 1")
    return NamedObject(name, difficult == "1")


def _box(element: Element, path: Path, name: str, height: int, width: int) -> tuple[float, float, float, float]:
    bndbox = element.find("bndbox")
    assert bndbox is not None  # the caller has looked
    edges = (_number(bndbox, tag, path, f"<bndbox> of {name!r}") for tag in ("xmin", "ymin", "xmax", "ymax"))
    xmin, ymin, xmax, ymax = edges
    stated = f"xmin {xmin:g}, ymin {ymin:g}, xmax {xmax:g}, ymax {ymax:g}"
    x1, y1, x2, y2 = xmin - 1, ymin - 1, xmax, ymax
    if x2 <= x1 or y2 <= y1:
        raise DatasetError(f"annotation {path}: the box of {name!r} is empty ({stated}): correct it")
    outside = max(-x1, -y1, x2 - width, y2 - height)
    cut = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    if outside > EDGE_TOLERANCE_PX or cut[2] <= cut[0] or cut[3] <= cut[1]:
        raise DatasetError(
            f"annotation {path}: the box of {name!r} ({stated}) leaves the image of {width} x {height} pixels:"
            " correct it (coordinates count from 1, edges included)"
        )
    return cut


def _number(element: Element, tag: str, path: Path, where: str) -> float:
    text = (element.findtext(tag) or "").strip()
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DatasetError(f"annotation {path}: <{tag}> in {where} is {text!r}: write a number")
    return number
