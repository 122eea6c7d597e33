"""A folder in Pascal VOC layout: JPEGImages, Annotations, ImageSets/Main/<split>.txt and, maybe, classes.txt and
SegmentationClass.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdcn_core.data.class_lists import CLASS_LIST, given_classes, listed_classes, read_lines
from sdcn_core.data.class_masks import VocMasks
from sdcn_core.data.image_set import AnnotatedSet, ImageRecord, ImageSet, raise_error, refuse_absent_classes
from sdcn_core.data.images import IMAGE_SUFFIXES, image_size
from sdcn_core.data.voc_annotations import (
    LocatedObject,
    NamedObject,
    as_annotation,
    no_box,
    read_named_objects,
    read_objects,
)
from sdcn_core.errors import DatasetError

VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
_IMAGE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")


@dataclass(frozen=True)
class VocFolder:
    """A data set on disk, found to have the layout; its files are read when a split is opened."""

    path: Path
    classes: tuple[str, ...]
    """class index -> name; objects of other names are ignored"""

    @classmethod
    def at(cls, path: Path, classes: Sequence[str] | None) -> "VocFolder":
        """The data set at `path`.

        Args:
            path: the folder that holds JPEGImages.
            classes: names in order; None: the lines of classes.txt where it exists, else the twenty VOC classes.

        Raises:
            DatasetError: a folder of the layout is missing; class names are none, repeated, or not fit for file names.
        """
        for folder in (".", "JPEGImages", "Annotations", "ImageSets/Main"):
            if not (path / folder).is_dir():
                raise DatasetError(
                    f"data set folder {path / folder} does not exist: a Pascal VOC folder holds JPEGImages, Annotations"
                    " and ImageSets/Main; check data.source.path and the service's data root"
                )
        return cls(path, given_classes(path, classes) or VOC_CLASSES)

    def labelled_set(self, split: str, *, labels_from_difficult: bool) -> ImageSet:
        """A split for training: image labels from the names in the annotations, no coordinate is read.

        Raises:
            DatasetError: a file is missing or broken, or a class has no image in the split; the message names it.
        """
        records = []
        names_seen: set[str] = set()
        for image_id in self.image_ids(split):
            path, height, width = self._image(image_id)
            objects = read_named_objects(self._annotation_path(image_id), height=height, width=width)
            names_seen.update(found.name for found in objects)
            labels = self._labels(objects, labels_from_difficult)
            records.append(ImageRecord(image_id, path, height, width, labels))
        image_set = ImageSet(split, self.classes, tuple(records))
        refuse_absent_classes(image_set, names_seen, source=f"{self.path}")
        return image_set

    def annotated_set(
        self, split: str, *, with_masks: bool = True, unusable: Callable[[DatasetError], None] = raise_error
    ) -> AnnotatedSet:
        """A split for evaluation: every object of our classes with box and flag; labels from those not difficult.

        Objects may be without a <bndbox> if all of the split are: then its boxes are unknown. Where no image of the
        split has an annotation file, as in VOC 2012 test, nothing is known of it, labels neither.

        Masks in SegmentationClass come with it, unread. Their indices count the names in SegmentationClass/classes.txt;
        where there is none, the twenty VOC classes if the data set's own classes are all among them (it is a part of
        VOC), else the data set's own classes.

        Args:
            split: its name.
            unusable: told why an image cannot be used; if it returns, the set is without that image.

        Raises:
            DatasetError: a file is missing or broken, or a box cannot be; the message names it.
        """
        records, annotations = [], []
        boxless: DatasetError | None = None
        has_boxes = False
        image_ids = self.image_ids(split)
        if not any(self._annotation_path(image_id).is_file() for image_id in image_ids):
            return AnnotatedSet(ImageSet(split, self.classes, self._unlabelled(image_ids, unusable)), annotations=None)
        for image_id in image_ids:
            annotation_path = self._annotation_path(image_id)
            try:
                path, height, width = self._image(image_id)
                objects = read_objects(annotation_path, height=height, width=width)
            except DatasetError as error:
                unusable(error)
                continue
            located = [found for found in objects if isinstance(found, LocatedObject)]
            has_boxes |= bool(located)
            if boxless is None and len(located) < len(objects):
                boxless = no_box(annotation_path, next(o.name for o in objects if not isinstance(o, LocatedObject)))
            records.append(ImageRecord(image_id, path, height, width, self._labels(objects, False)))
            annotations.append(as_annotation(image_id, located, self.classes))
        if boxless is not None and has_boxes:
            raise boxless
        return AnnotatedSet(
            ImageSet(split, self.classes, tuple(records)),
            tuple(annotations) if boxless is None else None,
            self._masks(records) if with_masks else None,
        )

    def _unlabelled(
        self, image_ids: Iterable[str], unusable: Callable[[DatasetError], None]
    ) -> tuple[ImageRecord, ...]:
        records = []
        for image_id in image_ids:
            try:
                records.append(ImageRecord(image_id, *self._image(image_id), labels=()))
            except DatasetError as error:
                unusable(error)
        return tuple(records)

    def image_ids(self, split: str) -> tuple[str, ...]:
        """The ids in ImageSets/Main/<split>.txt, in file order.

        Raises:
            DatasetError: no such list (the message says which there are), an empty one, no id on a line, an id twice.
        """
        path = self.path / "ImageSets" / "Main" / f"{split}.txt"
        if not path.is_file():
            present = ", ".join(self.splits()) or "none"
            raise DatasetError(
                f"split list {path} does not exist: name a split that is there ({present}) or write the list"
            )
        first_lines: dict[str, int] = {}
        for number, line in enumerate(read_lines(path), start=1):
            if line and not _IMAGE_ID.fullmatch(line):
                raise DatasetError(
                    f"split list {path}, line {number}: {line[:80]!r} is no image id; write one id a line"
                )
            if line in first_lines:
                raise DatasetError(
                    f"split list {path}: {line!r} is on lines {first_lines[line]} and {number}; remove one"
                )
            if line:
                first_lines[line] = number
        if not first_lines:
            raise DatasetError(f"split list {path} is empty: write one image id a line")
        return tuple(first_lines)

    def splits(self) -> list[str]:
        """Names of the lists in ImageSets/Main, but for VOC's own lists of single classes."""
        lists = sorted((self.path / "ImageSets" / "Main").glob("*.txt"))
        of_one_class = tuple(f"{name}_" for name in {*self.classes, *VOC_CLASSES})
        return [path.stem for path in lists if not path.stem.startswith(of_one_class)]

    def _image(self, image_id: str) -> tuple[Path, int, int]:
        """Path, height and width, px."""
        stem = self.path / "JPEGImages" / image_id
        candidates = (stem.with_name(image_id + suffix) for suffix in IMAGE_SUFFIXES)
        path = next((candidate for candidate in candidates if candidate.is_file()), None)
        if path is None:
            raise DatasetError(
                f"image {stem}.jpg (or .png) does not exist, but a split lists it: put it there or take {image_id!r}"
                " off the list"
            )
        return path, *image_size(path)

    def _masks(self, records: Iterable[ImageRecord]) -> VocMasks | None:
        folder = self.path / "SegmentationClass"
        candidates = {record.image_id: folder / f"{record.image_id}.png" for record in records}
        paths = {image_id: path for image_id, path in candidates.items() if path.is_file()}
        return VocMasks(paths, self._mask_numbering(), self.classes) if paths else None

    def _mask_numbering(self) -> tuple[str, ...]:
        """Names of the masks' indices 1, 2, ...; see annotated_set."""
        listing = self.path / "SegmentationClass" / CLASS_LIST
        if listing.is_file():
            return listed_classes(listing)
        listing = self.path / CLASS_LIST
        own = listed_classes(listing) if listing.is_file() else self.classes
        return VOC_CLASSES if set(own) <= set(VOC_CLASSES) else own

    def _annotation_path(self, image_id: str) -> Path:
        return self.path / "Annotations" / f"{image_id}.xml"

    def _labels(self, objects: Iterable[NamedObject | LocatedObject], labels_from_difficult: bool) -> tuple[int, ...]:
        names = {found.name for found in objects if labels_from_difficult or not found.difficult}
        return tuple(index for index, name in enumerate(self.classes) if name in names)
