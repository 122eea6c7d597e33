"""A folder with images and a COCO instances file for each split."""

import glob
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from sdcn_core.config.data import CocoSource, RelativePath
from sdcn_core.data.class_lists import class_name, given_classes, valid_names
from sdcn_core.data.class_masks import VOID
from sdcn_core.data.coco_json import Entry, Id, read_coco
from sdcn_core.data.image_set import (
    AnnotatedSet,
    CocoNumbers,
    ImageRecord,
    ImageSet,
    raise_error,
    refuse_absent_classes,
)
from sdcn_core.data.images import MAX_PIXELS, image_size
from sdcn_core.errors import DatasetError
from sdcn_core.structures.annotation import Annotation

EDGE_TOLERANCE_PX = 1.0
"""a box may stick out of its image by this much, as rounded coordinates do; it is cut at the edge"""

_MOST = 2.0**52
"""of a coordinate: more is no pixel of any image, nor is what is not finite"""

Box = tuple[float, float, float, float]
Regions = tuple[NDArray[np.float32], ...] | NDArray[np.int64]
"""polygons (P, 2) xy px, or the lengths of an image's runs, column by column, the first of what is outside"""


@dataclass(frozen=True)
class _Image:
    number: Id
    image_id: str
    """the number as text"""
    file: str
    height: int
    width: int


@dataclass(frozen=True)
class _Named:
    """That something is in an image."""

    number: Id
    """of the annotation, for messages"""
    image_id: str
    category: Id
    is_crowd: bool


@dataclass(frozen=True)
class _Located:
    """What is where in an image."""

    named: _Named
    box: Box
    """x, y, width and height, px"""
    area: float
    """px, of the segmentation where the file says so, else of the box"""
    regions: Regions | None
    """None: the file does not say, or in a way that is not read here"""


@dataclass(frozen=True)
class _Split:
    """A split's file; an annotation is read as training or as evaluation sees it."""

    path: Path
    images: Mapping[str, _Image]
    """by id, in file order"""
    annotations: Mapping[str, Sequence[Any]]
    """by image id"""
    is_annotated: bool
    """False: there is no list of annotations"""
    categories: Mapping[Id, str]
    """id -> name of a class, ascending"""


@dataclass(frozen=True)
class CocoFolder:
    """A data set on disk; its files are read when a split is opened."""

    path: Path
    source: CocoSource
    classes: tuple[str, ...]
    """class index -> name; annotations of other categories are ignored"""

    @classmethod
    def at(cls, path: Path, source: CocoSource) -> "CocoFolder":
        """The data set at `path`.

        Raises:
            DatasetError: the folder is missing; or, where nobody listed the classes, the training split's file is
                missing or broken, or its categories have no names of their own.
        """
        if not path.is_dir():
            raise DatasetError(
                f"data set folder {path} does not exist: check data.source.path and the service's data root"
            )
        classes = given_classes(path, source.classes)
        if classes is None:
            split = _read(_file(path, source, source.train_split), _named)
            used = {found.category for of_image in split.annotations.values() for found in of_image}
            names = tuple(name for number, name in split.categories.items() if number in used)
            classes = valid_names(f"the list of categories with an annotation in {split.path}", names)
        return cls(path, source, classes)

    def labelled_set(self, split: str, *, labels_from_difficult: bool) -> ImageSet:
        """A split for training: image labels from the categories of the annotations; no coordinate is read. Crowds are
        difficult.

        Raises:
            DatasetError: a file is missing or broken, or a class has no image in the split; the message names it.
        """
        file = _read(_file(self.path, self.source, split), _named)
        records = [
            self._record(split, image, file, file.annotations[image_id], labels_from_difficult)
            for image_id, image in file.images.items()
        ]
        image_set = ImageSet(split, self.classes, tuple(records))
        seen = {file.categories[found.category] for of_image in file.annotations.values() for found in of_image}
        refuse_absent_classes(image_set, seen, source=f"{self.path}")
        return image_set

    def annotated_set(
        self, split: str, *, with_masks: bool = True, unusable: Callable[[DatasetError], None] = raise_error
    ) -> AnnotatedSet:
        """A split for evaluation: every object of our classes with box and flag; labels from those not difficult.

        A crowd is difficult; an object whose box has no area counts as a label alone. Masks are drawn from the
        segmentations of images in which every object of our classes has one, as polygons or as a list of runs. Of a
        split whose file has no list of annotations nothing is known, labels neither.

        Raises:
            DatasetError: a file is missing or broken, or a box cannot be; the message names it and the annotation.
        """
        path = _file(self.path, self.source, split)
        file = _read(path, lambda entry, where: _located(entry, where, with_regions=with_masks))
        records, annotations = [], []
        areas: dict[str, NDArray[np.float64]] = {}
        drawn: dict[str, tuple[tuple[int, Regions], ...]] = {}
        for image_id, image in file.images.items():
            objects = [o for o in file.annotations[image_id] if file.categories[o.named.category] in self.classes]
            try:
                record = self._record(split, image, file, [found.named for found in objects], False)
                located = [(found, box) for found in objects if (box := _edges(found, image, path)) is not None]
            except DatasetError as error:
                unusable(error)
                continue
            records.append(record)
            annotations.append(self._annotation(image_id, located, file))
            areas[image_id] = np.array([found.area for found, _ in located], np.float64)
            if with_masks and all(found.regions is not None for found in objects):
                drawn[image_id] = self._regions(objects, file)
        return AnnotatedSet(
            ImageSet(split, self.classes, tuple(records)),
            tuple(annotations) if file.is_annotated else None,
            CocoMasks(drawn, len(self.classes)) if any(drawn.values()) else None,
            self._numbers(file, areas),
        )

    def splits(self) -> list[str]:
        """Splits whose file of annotations has the name that the source gives it."""
        first, *others = self.source.annotations.split("{split}")
        if not others:
            return []  # one file, whatever the split is called
        named = re.compile(re.escape(first) + "([^/]+)" + r"\1".join(map(re.escape, others)))
        found = self.path.glob("*".join(map(glob.escape, [first, *others])))
        names = (named.fullmatch(path.relative_to(self.path).as_posix()) for path in found)
        return sorted(name[1] for name in names if name is not None)

    def _record(
        self, split: str, image: _Image, file: _Split, objects: Sequence[_Named], labels_from_difficult: bool
    ) -> ImageRecord:
        path = self.path / self.source.images.replace("{split}", split) / image.file
        height, width = image_size(path)
        if (height, width) != (image.height, image.width):
            raise DatasetError(
                f"annotations {file.path} say that image {image.image_id} is {image.width} x {image.height} pixels, but"
                f" {path} is {width} x {height}: it belongs to another image or was resized; correct it"
            )
        names = {file.categories[o.category] for o in objects if labels_from_difficult or not o.is_crowd}
        labels = tuple(index for index, name in enumerate(self.classes) if name in names)
        return ImageRecord(image.image_id, path, height, width, labels)

    def _annotation(self, image_id: str, located: Sequence[tuple[_Located, Box]], file: _Split) -> Annotation:
        classes = [self.classes.index(file.categories[found.named.category]) for found, _ in located]
        return Annotation(
            image_id,
            boxes=np.array([box for _, box in located], np.float32).reshape(-1, 4),
            classes=np.array(classes, np.int64),
            difficult=np.array([found.named.is_crowd for found, _ in located], np.bool_),
        )

    def _numbers(self, file: _Split, areas: Mapping[str, NDArray[np.float64]]) -> CocoNumbers | None:
        """The file's numbers; None where it names something by a text, or lacks a category."""
        images = {image.image_id: image.number for image in file.images.values() if isinstance(image.number, int)}
        by_name = {name: number for number, name in file.categories.items() if isinstance(number, int)}
        if len(images) < len(file.images) or not by_name.keys() >= set(self.classes):
            return None
        return CocoNumbers(images, tuple(by_name[name] for name in self.classes), areas)

    def _regions(self, objects: Sequence[_Located], file: _Split) -> tuple[tuple[int, Regions], ...]:
        """Class (VOID of a crowd) and regions in the order of drawing: crowds first, then large boxes before small."""
        ordered = sorted(objects, key=lambda found: (not found.named.is_crowd, -found.box[2] * found.box[3]))
        return tuple(
            (VOID if o.named.is_crowd else self.classes.index(file.categories[o.named.category]), o.regions)
            for o in ordered
            if o.regions is not None
        )


@dataclass(frozen=True)
class CocoMasks:
    """Masks drawn from the segmentations of objects; see ClassMasks."""

    regions: Mapping[str, tuple[tuple[int, Regions], ...]]
    """image id -> class and regions, in the order of drawing"""
    num_classes: int

    def __contains__(self, image_id: str) -> bool:
        return image_id in self.regions

    def read(self, record: ImageRecord) -> NDArray[np.int16]:
        """See ClassMasks.

        Raises:
            DatasetError: runs do not add up to the image's pixels.
        """
        mask = np.full((record.height, record.width), self.num_classes, np.int16)
        for value, regions in self.regions[record.image_id]:
            if isinstance(regions, tuple):
                for polygon in regions:  # one by one: together they would be holes in one another
                    cv2.fillPoly(mask, [np.floor(polygon).astype(np.int32)], float(value))
                continue
            if regions.sum() != mask.size:
                raise DatasetError(
                    f"a segmentation of image {record.image_id} has runs of {regions.sum()} pixels, its image"
                    f" {record.path} has {mask.size}: correct the counts, or take the segmentation away"
                )
            inside = np.repeat(np.arange(len(regions)) % 2 == 1, regions).reshape(mask.shape, order="F")
            mask[inside] = value
        return mask


# --- reading


def _file(path: Path, source: CocoSource, split: str) -> Path:
    return path / source.annotations.replace("{split}", split)


def _read(path: Path, annotation: Callable[[Entry, str], Any]) -> _Split:
    where = f"annotations {path}"
    found = read_coco(
        path,
        {
            "images": lambda entry: _image(entry, where),
            "annotations": lambda entry: annotation(entry, where),
            "categories": lambda entry: _category(entry, where),
        },
    )
    if not found.images:
        raise DatasetError(f"{where} list no image: correct the file or name another split")
    _refuse_repeated(where, "image", [image.image_id for image in found.images])
    _refuse_repeated(where, "category", [number for number, _ in found.categories])
    _refuse_repeated(where, "category name", [name for _, name in found.categories])
    images = {image.image_id: image for image in found.images}
    categories = dict(sorted(found.categories, key=lambda pair: (isinstance(pair[0], str), pair[0])))
    of_image: defaultdict[str, list[Any]] = defaultdict(list)
    for one in found.annotations or ():
        named = one.named if isinstance(one, _Located) else one
        if named.image_id not in images or named.category not in categories:
            kind, value = ("category", named.category) if named.image_id in images else ("image", named.image_id)
            raise DatasetError(f"{where}, annotation {named.number}: no {kind} has the id {value!r}: correct it")
        of_image[named.image_id].append(one)
    by_image = {image_id: of_image[image_id] for image_id in images}
    return _Split(path, images, by_image, found.annotations is not None, categories)


def _refuse_repeated(where: str, kind: str, values: Sequence[Id]) -> None:
    value, count = Counter(values).most_common(1)[0] if values else ("", 0)
    if count > 1:
        raise DatasetError(f"{where} have the {kind} {value!r} {count} times: each must be there once")


def _image(entry: Entry, where: str) -> _Image:
    number = _id(entry, "id", f"{where}, an image")
    where = f"{where}, image {number}"
    file = entry.get("file_name")
    try:
        TypeAdapter(RelativePath).validate_python(file, strict=True)
    except ValidationError as error:
        raise DatasetError(f"{where}: file_name {str(file)[:80]!r} is no path below the images: correct it") from error
    height, width = entry.get("height"), entry.get("width")
    if not isinstance(height, int) or not isinstance(width, int):
        raise DatasetError(
            f"{where}: height and width are {str(height)[:80]!r} and {str(width)[:80]!r}: write the image's, in pixels"
        )
    return _Image(number, str(number), str(file), height, width)


def _category(entry: Entry, where: str) -> tuple[Id, str]:
    number = _id(entry, "id", f"{where}, a category")
    name = entry.get("name")
    if not isinstance(name, str) or not class_name(name):
        raise DatasetError(f"{where}, category {number}: name is {str(name)[:80]!r}: name it with letters or digits")
    return number, class_name(name)


def _named(entry: Entry, where: str) -> _Named:
    number = _id(entry, "id", f"{where}, an annotation") if "id" in entry else "without id"
    where = f"{where}, annotation {number}"
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise DatasetError(f"{where}: iscrowd is {str(crowd)[:80]!r}: write 0 or 1")
    return _Named(number, str(_id(entry, "image_id", where)), _id(entry, "category_id", where), bool(crowd))


def _located(entry: Entry, where: str, *, with_regions: bool) -> _Located:
    named = _named(entry, where)
    where = f"{where}, annotation {named.number}"
    box = entry.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_is_number(edge) for edge in box):
        raise DatasetError(f"{where}: bbox is {str(box)[:80]!r}: write [x, y, width, height], in pixels")
    x, y, width, height = map(float, box)
    area = entry.get("area")
    return _Located(
        named,
        box=(x, y, width, height),
        area=float(area) if _is_number(area) else width * height,
        regions=_as_regions(entry.get("segmentation")) if with_regions else None,
    )


def _as_regions(segmentation: object) -> Regions | None:
    match segmentation:
        case [*polygons] if polygons and all(_is_polygon(polygon) for polygon in polygons):
            return tuple(np.array(polygon, np.float32).reshape(-1, 2) for polygon in polygons)
        case {"counts": [*runs]} if all(isinstance(run, int) and 0 <= run <= MAX_PIXELS for run in runs):
            return np.array(runs, np.int64)
        case _:
            return None


def _is_polygon(polygon: object) -> bool:
    is_even = isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0
    return is_even and all(_is_number(value) and abs(value) < 2**30 for value in polygon)  # type: ignore[attr-defined]


def _edges(found: _Located, image: _Image, path: Path) -> Box | None:
    """The box as xyxy px, half-open, cut at the image; None where it has no area."""
    x, y, width, height = found.box
    where = f"annotations {path}, annotation {found.named.number}"
    if width < 0 or height < 0:
        raise DatasetError(f"{where}: bbox has width {width:g} and height {height:g}: correct it")
    outside = max(-x, -y, x + width - image.width, y + height - image.height)
    if outside > EDGE_TOLERANCE_PX:
        raise DatasetError(
            f"{where}: bbox x {x:g}, y {y:g}, width {width:g}, height {height:g} leaves the image of {image.width} x"
            f" {image.height} pixels: correct it"
        )
    x1, y1 = max(x, 0.0), max(y, 0.0)
    x2, y2 = min(x + width, float(image.width)), min(y + height, float(image.height))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def _id(entry: Entry, key: str, where: str) -> Id:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str) or len(str(value)) > 200:
        raise DatasetError(f"{where}: {key} is {str(value)[:80]!r}: write a number")
    return value


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _MOST
