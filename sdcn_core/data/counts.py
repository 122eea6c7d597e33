"""How many images, objects and masks a split has of each class, and how large its images are."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sdcn_core.data.image_set import AnnotatedSet


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
    image_set = annotated.image_set
    kept = [index for index, record in enumerate(image_set.records) if record.path not in without]
    records = [image_set.records[index] for index in kept]
    annotations = [annotated.annotations[index] for index in kept]
    shown = [np.bincount(annotation.classes, minlength=len(image_set.classes)) for annotation in annotations]
    per_image = np.array(shown, np.int64).reshape(len(annotations), len(image_set.classes))
    difficult = sum(
        (np.bincount(a.classes[a.difficult], minlength=len(image_set.classes)) for a in annotations),
        np.zeros(len(image_set.classes), np.int64),
    )
    labels = np.bincount([label for record in records for label in record.labels], minlength=len(image_set.classes))
    classes = {
        name: ClassCounts(
            images=int(labels[index]),
            objects=int(per_image[:, index].sum()),
            difficult=int(difficult[index]),
            objects_per_image=_ratio(int(per_image[:, index].sum()), int((per_image[:, index] > 0).sum())),
        )
        for index, name in enumerate(image_set.classes)
    }
    return SplitCounts(
        name=image_set.name,
        images=len(records),
        without_label=sum(not record.labels for record in records),
        masks=0 if annotated.masks is None else sum(record.image_id in annotated.masks for record in records),
        objects=int(per_image.sum()),
        difficult=int(difficult.sum()),
        objects_per_image=_ratio(int(per_image.sum()), len(records)),
        width_px=_extent([record.width for record in records]),
        height_px=_extent([record.height for record in records]),
        classes=classes,
    )


def _ratio(count: int, of: int) -> float | None:
    return count / of if of else None


def _extent(lengths: Sequence[int]) -> Extent | None:
    return Extent(min(lengths), float(np.median(lengths)), max(lengths)) if lengths else None
