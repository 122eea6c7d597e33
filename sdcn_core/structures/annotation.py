"""What evaluation knows of an image, and training never sees."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Annotation:
    """The objects of one image. M objects, M may be 0."""

    image_id: str
    boxes: NDArray[np.float32]
    """(M, 4) xyxy px from 0, half-open"""
    classes: NDArray[np.int64]
    """(M,) class index in [0, C)"""
    difficult: NDArray[np.bool_]
    """(M,) VOC's flag: neither a miss nor a false alarm in AP, counted in CorLoc"""


@dataclass(frozen=True)
class ImageLabels:
    """What is known of an image in which nobody drew boxes."""

    image_id: str
    labels: tuple[int, ...]
    """class indices, ascending, each once"""


NO_BOXES = np.zeros((0, 4), np.float32)

Truth = Annotation | ImageLabels


def known_objects(truth: Truth) -> tuple[int, ...]:
    """The class of each object of the image that is known of: of its boxes, or one for each label."""
    return tuple(truth.classes.tolist()) if isinstance(truth, Annotation) else truth.labels


@dataclass(frozen=True)
class Detections:
    """Scored boxes of one image after NMS, best first within a class. M boxes, M may be 0."""

    image_id: str
    boxes: NDArray[np.float32]
    """(M, 4) xyxy px from 0, half-open"""
    scores: NDArray[np.float32]
    """(M,) in [0, 1]"""
    classes: NDArray[np.int64]
    """(M,) class index in [0, C)"""
