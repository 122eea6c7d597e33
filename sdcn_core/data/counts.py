"""How many images, objects and masks a split has of each class, and how large its images are."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdcn_core.data.image_set import AnnotatedSet
from sdcn_core.structures.annotation import Annotation


@dataclass(frozen=True)
class Extent:
    """Of a length over the images of a split, px."""

    smallest: int
    median: float
    largest: int


@dataclass(frozen=True)
class ClassCounts:
    """What a split has of a class. An image's label is a class of which it has an object that is not difficult."""

    images: int
    """with the label"""
    objects: int | None
    """difficult ones among them; None: nobody drew boxes"""
    difficult: int | None
    objects_per_image: float | None
    """mean over the images with at least one object of the class; None: there is none, or nobody drew boxes"""


@dataclass(frozen=True)
class SplitCounts:
    """What is in a split, without the images that cannot be used."""

    name: str
    images: int
    without_label: int
    masks: int
    """images with a mask of classes"""
    objects: int | None
    """difficult ones among them; None: nobody drew boxes"""
    difficult: int | None
    objects_per_image: float | None
    """mean over all images; None: there is no image, or nobody drew boxes"""
    width_px: Extent | None
    """None: there is no image"""
    height_px: Extent | None
    classes: dict[str, ClassCounts]


def count_split(annotated: AnnotatedSet, *, without: Collection[Path]) -> SplitCounts:
    """What is in a split, images at these paths left out."""
    image_set, masks = annotated.image_set, annotated.masks
    kept = [index for index, record in enumerate(image_set.records) if record.path not in without]
    records = [image_set.records[index] for index in kept]
    labels = np.bincount([label for record in records for label in record.labels], minlength=len(image_set.classes))
    objects = None
    if annotated.annotations is not None:
        objects = _Objects.of([annotated.annotations[index] for index in kept], len(image_set.classes))
    return SplitCounts(
        name=image_set.name,
        images=len(records),
        without_label=sum(not record.labels for record in records),
        masks=0 if masks is None else sum(record.image_id in masks for record in records),
        objects=None if objects is None else int(objects.count.sum()),
        difficult=None if objects is None else int(objects.difficult.sum()),
        objects_per_image=None if objects is None else _ratio(int(objects.count.sum()), len(records)),
        width_px=_extent([record.width for record in records]),
        height_px=_extent([record.height for record in records]),
        classes={
            name: ClassCounts(
                images=int(labels[index]),
                objects=None if objects is None else int(objects.count[index]),
                difficult=None if objects is None else int(objects.difficult[index]),
                objects_per_image=None
                if objects is None
                else _ratio(int(objects.count[index]), int(objects.images[index])),
            )
            for index, name in enumerate(image_set.classes)
        },
    )


@dataclass(frozen=True)
class _Objects:
    """Of each class, (C,)."""

    count: NDArray[np.int64]
    difficult: NDArray[np.int64]
    images: NDArray[np.int64]
    """with at least one"""

    @classmethod
    def of(cls, annotations: Sequence[Annotation], num_classes: int) -> "_Objects":
        zeros = np.zeros(num_classes, np.int64)
        counts = [np.bincount(one.classes, minlength=num_classes) for one in annotations]
        difficult = [np.bincount(one.classes[one.difficult], minlength=num_classes) for one in annotations]
        return cls(
            sum(counts, zeros), sum(difficult, zeros), sum(((count > 0).astype(np.int64) for count in counts), zeros)
        )


def _ratio(count: int, of: int) -> float | None:
    return count / of if of else None


def _extent(lengths: Sequence[int]) -> Extent | None:
    return Extent(min(lengths), float(np.median(lengths)), max(lengths)) if lengths else None
