"""What is known of a data set: for training image labels alone, for evaluation also what stands where."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sdcn_core.data.class_lists import some
from sdcn_core.errors import DatasetError
from sdcn_core.structures.annotation import Annotation, ImageLabels, Truth


def raise_error(error: DatasetError) -> None:
    """What becomes of an image that cannot be used where nobody else is told of it.

    Raises:
        DatasetError: this one.
    """
    raise error


@dataclass(frozen=True)
class ImageRecord:
    """One image and its labels; there is no field for a box that somebody drew."""

    image_id: str
    path: Path
    height: int
    """px"""
    width: int
    """px"""
    labels: tuple[int, ...]
    """indices of the classes present, ascending, each once; may be empty"""


@dataclass(frozen=True)
class ImageSet:
    """The images of one split, in the order of its list: all that training sees of a data set."""

    name: str
    """the split"""
    classes: tuple[str, ...]
    """class index -> name"""
    records: tuple[ImageRecord, ...]


class ClassMasks(Protocol):
    """What each pixel of an image shows, for those images of which somebody drew it."""

    def __contains__(self, image_id: str, /) -> bool:
        """Whether the image has a mask."""
        ...

    def read(self, record: ImageRecord, /) -> NDArray[np.int16]:
        """The mask (H, W) of an image that has one: class index, C for background, VOID where nobody decided.

        Raises:
            DatasetError: the file is missing, broken, or not the image's; the message names it.
        """
        ...


@dataclass(frozen=True)
class CocoNumbers:
    """What COCO's files call the images and classes of a split."""

    image_ids: Mapping[str, int]
    """image id -> COCO's"""
    category_ids: tuple[int, ...]
    """class index -> COCO's"""
    areas: Mapping[str, NDArray[np.float64]] | None = None
    """image id -> (M,) px by which each of its objects is small, medium or large; None: its box's"""


@dataclass(frozen=True)
class AnnotatedSet:
    """A split with its ground truth, for evaluation only; annotations[i] belongs to image_set.records[i]."""

    image_set: ImageSet
    annotations: tuple[Annotation, ...] | None
    """None: nobody drew boxes, and only the labels of the records are known"""
    masks: ClassMasks | None = None
    """None: no image of the data set has a mask"""
    coco: CocoNumbers | None = None
    """None: the data set is not COCO's and has no such numbers"""

    @property
    def truths(self) -> tuple[Truth, ...]:
        """What is known of each image: its objects, or else its labels."""
        if self.annotations is not None:
            return self.annotations
        return tuple(ImageLabels(record.image_id, record.labels) for record in self.image_set.records)

    @property
    def is_unknown(self) -> bool:
        """Whether there are neither boxes nor labels: somebody else has them, as those of VOC 2012 test."""
        return self.annotations is None and not any(record.labels for record in self.image_set.records)

    @property
    def has_nothing_to_find(self) -> bool:
        """Whether boxes are known, but of no object that counts: then a verdict would say nothing."""
        return self.annotations is not None and all(annotation.difficult.all() for annotation in self.annotations)


def refuse_absent_classes(image_set: ImageSet, names_seen: set[str], *, source: str) -> None:
    """Refuse a training split that lacks a class.

    Args:
        image_set: the split.
        names_seen: what its images are said to show, difficult objects too.
        source: what the message calls the data set.

    Raises:
        DatasetError: naming the class, the split and the way out.
    """
    present = {label for record in image_set.records for label in record.labels}
    for index, name in enumerate(image_set.classes):
        if index in present:
            continue
        if name in names_seen:
            found = "all its objects there are marked difficult; set data.labels_from_difficult"
        else:
            found = f"the names there are {some(names_seen)}; correct data.source.classes or classes.txt"
        raise DatasetError(
            f"class {name!r} has no image in split {image_set.name!r} of {source}: {found}, or add images"
        )
