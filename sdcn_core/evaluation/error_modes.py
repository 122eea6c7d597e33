"""How the best box of a class lies to the objects: the five cases of appendix B.2 and figure 6.

N proposals and G objects of one image, C classes, K classes that one image has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from sdcn_core.evaluation.corloc import best_boxes
from sdcn_core.evaluation.overlaps import box_overlaps
from sdcn_core.structures.annotation import Annotation


class ErrorMode(StrEnum):
    """The cases in the paper's order; a box is the first that any object of its class makes true."""

    CORRECT = "correct"
    """it overlaps an object by more than the threshold: what CorLoc counts"""
    INSIDE = "inside"
    """it lies completely inside an object: a part was taken for the whole"""
    CONTAINS = "contains"
    """an object lies completely inside it: surroundings or neighbours were taken in"""
    OVERLAP = "overlap"
    """it shares some area with an object"""
    NONE = "none"
    """it shares nothing with any object of the class"""


MODES = tuple(ErrorMode)


@dataclass(frozen=True)
class ImageErrorModes:
    """What one image says of figure 6."""

    classes: NDArray[np.int64]
    """(K,) the classes it has an object of, difficult or not, ascending"""
    modes: NDArray[np.int64]
    """(K,) position in MODES of the class's best box"""


@dataclass(frozen=True)
class ClassErrorModes:
    """The cases of one class over a whole split."""

    counts: tuple[int, ...]
    """images in each of MODES"""

    @property
    def num_images(self) -> int:
        """Images with an object of the class."""
        return sum(self.counts)

    @property
    def shares(self) -> tuple[float, ...] | None:
        """Of the images, in each of MODES: they add up to 1. None where no image of the split has the class."""
        return tuple(count / self.num_images for count in self.counts) if self.num_images else None


def classify_best_boxes(
    scores: NDArray[np.floating], proposals: NDArray[np.floating], annotation: Annotation, *, match_iou: float
) -> ImageErrorModes:
    """The case of the best-scoring proposal of each class that the image has.

    Which box is the best, which objects count and when it is correct are CorLoc's rules (`localize`). A box of no area
    lies in nothing.

    Args:
        scores: (N, C); among equals the first proposal is the best.
        proposals: (N, 4) xyxy px, half-open, N >= 1; or (N, C, 4), another for each class.
        annotation: the objects.
        match_iou: threshold in (0, 1), strictly exceeded by a correct box.
    """
    classes = np.unique(annotation.classes)  # (K,)
    best = best_boxes(scores, proposals, classes).astype(np.float64)  # (K, 4)
    objects = annotation.boxes.astype(np.float64)  # (G, 4)
    overlaps = box_overlaps(best, objects)  # (K, G)
    touching = (classes[:, None] == annotation.classes[None, :]) & (overlaps > 0)
    cases = (
        touching & (overlaps > match_iou),
        touching & _inside(best[:, None], objects[None]),
        touching & _inside(objects[None], best[:, None]),
        touching,
    )
    modes = np.full(len(classes), MODES.index(ErrorMode.NONE), dtype=np.int64)
    for mode, case in reversed(list(enumerate(cases))):
        modes[case.any(axis=1)] = mode
    return ImageErrorModes(classes, modes)


def count_error_modes(images: Sequence[ImageErrorModes], *, num_classes: int) -> tuple[ClassErrorModes, ...]:
    """The cases of every class over all images; `images` may be empty."""
    counts = np.zeros((num_classes, len(MODES)), dtype=np.int64)
    for image in images:
        counts[image.classes, image.modes] += 1
    return tuple(ClassErrorModes(tuple(row)) for row in counts.tolist())


def mean_shares(shares: Sequence[tuple[float, ...] | None]) -> tuple[float, ...] | None:
    """The share of each mode averaged over the classes that some image has; None where none has."""
    known = [of_class for of_class in shares if of_class is not None]
    return tuple(sum(of_mode) / len(known) for of_mode in zip(*known, strict=True)) if known else None


def shares_by_mode(shares: tuple[float, ...] | None) -> dict[str, float] | None:
    """The shares by the modes' names, as results show them."""
    return None if shares is None else {mode.value: share for mode, share in zip(MODES, shares, strict=True)}


def _inside(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    edges = np.concatenate([boxes[..., :2] >= others[..., :2], boxes[..., 2:] <= others[..., 2:]], axis=-1)
    return np.asarray(edges.all(axis=-1))
