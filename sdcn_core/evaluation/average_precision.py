"""Average precision as Pascal VOC defines it: what each image says of it, then AP over all images.

M detections and G objects of one image, C classes, T detections of one class over all images.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sdcn_core.evaluation.overlaps import box_overlaps
from sdcn_core.structures.annotation import Annotation, Detections

ELEVEN_RECALLS = np.arange(0.0, 1.1, 0.1)
"""Fast R-CNN's voc_eval.py, with which published VOC 2007 results were made, steps like this: its 0.3, 0.6 and 0.7 lie
one bit above the decimal, so 3 of 10 objects do not reach the recall 0.3. Exact tenths would move one published class
AP (YOLOv2 on VOC 2007, pottedplant) from 46.60 % to 46.71 %."""


@dataclass(frozen=True)
class ImageMatches:
    """One image's detections, each right or wrong. Those on difficult objects are neither, and left out."""

    scores: NDArray[np.float32]
    """(M',) best first"""
    classes: NDArray[np.int64]
    """(M',)"""
    correct: NDArray[np.bool_]
    """(M',) the best detection of an object; a second one of the same object is wrong"""
    num_objects: NDArray[np.int64]
    """(C,) objects of each class that are to be found, without the difficult ones"""


@dataclass(frozen=True)
class ClassAP:
    """How one class was found over a whole split."""

    ap: float | None
    """in [0, 1]; None where the split has no object of the class that is not difficult"""
    precision: NDArray[np.float64]
    """(T,) share of right ones among the best 1..T detections; empty where ap is None"""
    recall: NDArray[np.float64]
    """(T,) share of the objects found by them, never falling; empty where ap is None"""
    num_objects: int


def match_detections(
    detections: Detections, annotation: Annotation, *, num_classes: int, match_iou: float
) -> ImageMatches:
    """Hold one image's detections against its objects, by the rule of the VOC devkit.

    Best first, a detection looks at the object of its class that it overlaps most, taken or not. Over `match_iou`
    (strictly) it is right if it is the first there, wrong if the object is taken, left out if the object is difficult;
    else it is wrong. That the choice does not depend on what is taken lets all detections choose at once.
    """
    order = np.argsort(-detections.scores, kind="stable")
    scores, classes = detections.scores[order], detections.classes[order]
    correct = np.zeros(len(order), dtype=bool)
    counted = np.ones(len(order), dtype=bool)
    if len(order) > 0 and len(annotation.boxes) > 0:
        overlaps = box_overlaps(detections.boxes[order], annotation.boxes)  # (M, G)
        overlaps[classes[:, None] != annotation.classes[None, :]] = -1.0
        chosen = overlaps.argmax(axis=1)  # (M,)
        matched = overlaps.max(axis=1) > match_iou
        counted = ~(matched & annotation.difficult[chosen])
        candidates = np.flatnonzero(matched)
        _, first = np.unique(chosen[candidates], return_index=True)
        correct[candidates[first]] = True
    to_find = annotation.classes[~annotation.difficult]
    return ImageMatches(
        scores=scores[counted],
        classes=classes[counted],
        correct=correct[counted],
        num_objects=np.bincount(to_find, minlength=num_classes).astype(np.int64),
    )


def average_precision(
    matches: Sequence[ImageMatches], *, num_classes: int, flavour: Literal["voc07_11point", "area"]
) -> tuple[ClassAP, ...]:
    """AP of every class over all images. Among equal scores the earlier image's detection counts as the better one.

    Args:
        matches: one per image of the split, in the split's order; may be empty.
        num_classes: C.
        flavour: mean of the best precision at eleven recalls (VOC 2007 to 2009), or the area under it (VOC 2010 on).
    """
    empty = [np.zeros(0)]
    scores = np.concatenate([m.scores for m in matches] or empty)
    classes = np.concatenate([m.classes for m in matches] or empty)
    correct = np.concatenate([m.correct for m in matches] or empty).astype(bool)
    num_objects = np.sum([m.num_objects for m in matches], axis=0) if matches else np.zeros(num_classes, dtype=np.int64)
    order = np.argsort(-scores, kind="stable")
    classes, correct = classes[order], correct[order]
    return tuple(ranked_ap(correct[classes == c], int(num_objects[c]), flavour) for c in range(num_classes))


def ranked_ap(correct: NDArray[np.bool_], num_objects: int, flavour: Literal["voc07_11point", "area"]) -> ClassAP:
    """AP of one ranking.

    Args:
        correct: (T,) whether each of what was ranked is right, best first.
        num_objects: right ones there are, ranked or not.
        flavour: see `average_precision`.
    """
    if num_objects == 0:
        return ClassAP(ap=None, precision=np.zeros(0), recall=np.zeros(0), num_objects=0)
    found = np.cumsum(correct)  # (T,)
    precision = found / np.arange(1, len(found) + 1)
    # best precision at this recall or a larger one
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    recall = found / num_objects
    if flavour == "voc07_11point":
        reached = np.searchsorted(recall, ELEVEN_RECALLS)  # (11,) the first detection at each recall
        ap = float(np.append(envelope, 0.0)[reached].mean())
    else:
        # recall rises by one object at each right detection and stands still at the others
        ap = float(envelope[correct].sum() / num_objects)
    return ClassAP(ap=ap, precision=precision, recall=recall, num_objects=num_objects)
