"""CorLoc (Deselaers et al. 2012): in how many images of a class its best-scoring box lies on an object of the class.

N proposals of one image, C classes, K classes that one image has.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdcn_core.evaluation.overlaps import box_overlaps
from sdcn_core.evaluation.scored_boxes import boxes_at
from sdcn_core.structures.annotation import Annotation


@dataclass(frozen=True)
class ImageLocalization:
    """What one image says of CorLoc."""

    classes: NDArray[np.int64]
    """(K,) the classes it has an object of, difficult or not, ascending"""
    correct: NDArray[np.bool_]
    """(K,) whether the class's best box is right"""


@dataclass(frozen=True)
class ClassCorLoc:
    """How one class was localized over a whole split."""

    corloc: float | None
    """in [0, 1]; None where no image of the split has the class"""
    num_correct: int
    num_images: int
    """images with an object of the class"""


def localize(
    scores: NDArray[np.floating], proposals: NDArray[np.floating], annotation: Annotation, *, match_iou: float
) -> ImageLocalization:
    """Judge the best-scoring proposal of each class that the image has.

    As OICR's tools count: no suppression, no threshold on the score, difficult objects are objects like the others, and
    overlapping any one object of the class by more than `match_iou` (strictly) is right.

    Args:
        scores: (N, C); among equals the first proposal is the best.
        proposals: (N, 4) xyxy px, half-open, N >= 1; or (N, C, 4), another for each class.
        annotation: the objects.
        match_iou: threshold in (0, 1).
    """
    classes = np.unique(annotation.classes)  # (K,)
    best = best_boxes(scores, proposals, classes)  # (K, 4)
    overlaps = box_overlaps(best, annotation.boxes)  # (K, G)
    of_class = classes[:, None] == annotation.classes[None, :]
    return ImageLocalization(classes, (of_class & (overlaps > match_iou)).any(axis=1))


def best_boxes(
    scores: NDArray[np.floating], proposals: NDArray[np.floating], classes: NDArray[np.int64]
) -> NDArray[np.floating]:
    """The best-scoring proposal (K, 4) of each of K classes; among equals the first.

    Proposals are (N, 4), or (N, C, 4) where each class has boxes of its own.
    """
    return boxes_at(proposals, scores[:, classes].argmax(axis=0), classes)


def correct_localization(localizations: Sequence[ImageLocalization], *, num_classes: int) -> tuple[ClassCorLoc, ...]:
    """CorLoc of every class over all images; `localizations` may be empty."""
    images = np.zeros(num_classes, dtype=np.int64)
    correct = np.zeros(num_classes, dtype=np.int64)
    for image in localizations:
        images[image.classes] += 1
        correct[image.classes] += image.correct
    return tuple(
        ClassCorLoc(int(hit) / int(total) if total else None, int(hit), int(total))
        for hit, total in zip(correct, images, strict=True)
    )
