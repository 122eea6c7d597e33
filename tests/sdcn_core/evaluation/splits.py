"""A small test split on disk, with masks for some of its images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcn_core.data.image_set import AnnotatedSet, ImageRecord, ImageSet
from sdcn_core.structures.annotation import Annotation
from tests.sdcn_core.evaluation.made_up import annotation

CLASSES = ("cat", "dog")
SIDE_PX = 48
CAT_BOX, DOG_BOX = [4, 4, 24, 24], [28, 20, 44, 44]


@dataclass(frozen=True)
class MasksInMemory:
    masks: Mapping[str, NDArray[np.int16]]

    def __contains__(self, image_id: str) -> bool:
        return image_id in self.masks

    def read(self, record: ImageRecord) -> NDArray[np.int16]:
        return self.masks[record.image_id]


def small_split(folder: Path, count: int, *, masked: int = 0, objects: bool = True) -> AnnotatedSet:
    """Images im0, im1, ... with a cat, every second one with a dog too; the first `masked` have a mask."""
    records, annotations, masks = [], [], {}
    for k in range(count):
        path = folder / f"im{k}.png"
        cv2.imwrite(str(path), np.full((SIDE_PX, SIDE_PX, 3), 60 + 10 * (k % 10), dtype=np.uint8))
        boxes, classes = ([CAT_BOX, DOG_BOX], [0, 1]) if k % 2 else ([CAT_BOX], [0])
        truth: Annotation = annotation(boxes if objects else [], classes if objects else [], image_id=f"im{k}")
        records.append(ImageRecord(f"im{k}", path, SIDE_PX, SIDE_PX, tuple(classes)))
        annotations.append(truth)
        if k < masked:
            masks[f"im{k}"] = mask_of(truth)
    image_set = ImageSet("test", CLASSES, tuple(records))
    return AnnotatedSet(image_set, tuple(annotations), MasksInMemory(masks) if masks else None)


def mask_of(truth: Annotation) -> NDArray[np.int16]:
    """The objects' boxes, filled."""
    mask = np.full((SIDE_PX, SIDE_PX), len(CLASSES), np.int16)
    for (x1, y1, x2, y2), label in zip(truth.boxes.astype(int), truth.classes, strict=True):
        mask[y1:y2, x1:x2] = label
    return mask
