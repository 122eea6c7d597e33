"""From scores to detections by the field's two protocols. N proposals of an image, C classes; background has no column.

OICR's (Tang et al. 2017, the authors' code) looks at a class over the whole split; PCL's (Tang et al. 2018, their
pcl.pytorch) looks at each image by itself.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.evaluation.nms import non_maximum_suppression
from sdcn_core.evaluation.scored_boxes import boxes_at
from sdcn_core.structures.annotation import Detections

_FIRST_PAIRS = 512
"""of proposals and classes, the best, are looked at first by PCL's protocol: mostly enough for its boxes of an image"""


def detections_by_protocol(
    image_ids: Sequence[str],
    scores: Sequence[NDArray[np.floating]],
    proposals: Sequence[NDArray[np.floating]],
    config: EvaluationConfig,
) -> tuple[Detections, ...]:
    """The detections of a whole split, selected by `config.protocol`; arguments and order as of `select_detections`."""
    if config.protocol == "pcl":
        return tuple(
            select_image_detections(
                *image,
                score_threshold=config.pcl.score_threshold,
                nms_iou=config.pcl.nms_iou,
                boxes_per_image=config.pcl.boxes_per_image,
            )
            for image in zip(image_ids, scores, proposals, strict=True)
        )
    return select_detections(
        image_ids,
        scores,
        proposals,
        nms_iou=config.nms_iou,
        boxes_per_class=config.boxes_per_class,
        boxes_per_image_cap=config.boxes_per_image_cap,
    )


def select_detections(
    image_ids: Sequence[str],
    scores: Sequence[NDArray[np.floating]],
    proposals: Sequence[NDArray[np.floating]],
    *,
    nms_iou: float,
    boxes_per_class: int,
    boxes_per_image_cap: int,
) -> tuple[Detections, ...]:
    """The detections of a whole split, as OICR's test code selects them.

    Of each class and image the best `boxes_per_class` enter. If that makes more than K = `boxes_per_image_cap` * number
    of images for a class, it keeps those that score more than its K-th best: that one and its equals go too, as in the
    original. Then non-maximum suppression within each image. There is no threshold on the score.

    Args:
        image_ids: of the split, in its order; may be empty.
        scores: one (N, C) an image.
        proposals: one (N, 4) an image, xyxy px, half-open; or (N, C, 4), another box for each class.
        nms_iou: a box overlapping a better one by this or more goes.
        boxes_per_class: >= 1.
        boxes_per_image_cap: >= 1.

    Returns:
        One an image; ordered by class, best first within a class.
    """
    shortlists = [_best_rows(s, boxes_per_class) for s in scores]  # (min(N, limit), C) each
    listed = [np.take_along_axis(s, rows, axis=0) for s, rows in zip(scores, shortlists, strict=True)]
    floor = _score_floor(listed, cap=boxes_per_image_cap * len(image_ids))
    detections = []
    for image_id, rows, values, boxes in zip(image_ids, shortlists, listed, proposals, strict=True):
        kept_rows, kept_scores, kept_classes = [], [], []
        for c in range(values.shape[1]):
            entered = values[:, c] > floor[c]
            candidates, candidate_scores = rows[entered, c], values[entered, c]
            kept = non_maximum_suppression(boxes_at(boxes, candidates, c), candidate_scores, iou=nms_iou)
            kept_rows.append(candidates[kept])
            kept_scores.append(candidate_scores[kept])
            kept_classes.append(np.full(len(kept), c, dtype=np.int64))
        classes = np.concatenate(kept_classes)
        detections.append(
            Detections(
                image_id=image_id,
                boxes=np.asarray(boxes_at(boxes, np.concatenate(kept_rows), classes), dtype=np.float32),
                scores=np.concatenate(kept_scores).astype(np.float32),
                classes=classes,
            )
        )
    return tuple(detections)


def select_image_detections(
    image_id: str,
    scores: NDArray[np.floating],
    proposals: NDArray[np.floating],
    *,
    score_threshold: float,
    nms_iou: float,
    boxes_per_image: int,
) -> Detections:
    """The detections of one image, as PCL's test code selects them.

    All that score more than the threshold enter non-maximum suppression, class by class. If more than
    `boxes_per_image` of all classes together are left, those stay that score as much as the last of so many or more:
    its equals stay too, as in the original.

    Args:
        image_id: of the image.
        scores: (N, C).
        proposals: (N, 4) xyxy px, half-open; or (N, C, 4), another box for each class.
        score_threshold: to be exceeded.
        nms_iou: a box overlapping a better one of its class by this or more goes.
        boxes_per_image: >= 1.

    Returns:
        Ordered by class, best first within a class.
    """
    rows, classes = np.nonzero(scores > score_threshold)
    values = scores[rows, classes]
    looked_at = max(_FIRST_PAIRS, boxes_per_image)
    while True:
        # Who survives depends on better boxes alone, so the best pairs tell their own fate, and once enough of them
        # survive, no other can be among the best of the image.
        best = _best(values, looked_at)
        candidates = boxes_at(proposals, rows[best], classes[best])
        kept = best[_suppressed_by_class(candidates, values[best], classes[best], iou=nms_iou)]
        if len(kept) >= boxes_per_image or len(best) == len(values):
            break
        looked_at *= 4
    if len(kept) > boxes_per_image:
        last = np.partition(values[kept], len(kept) - boxes_per_image)[len(kept) - boxes_per_image]
        kept = kept[values[kept] >= last]
    return Detections(
        image_id=image_id,
        boxes=np.asarray(boxes_at(proposals, rows[kept], classes[kept]), dtype=np.float32),
        scores=values[kept].astype(np.float32),
        classes=classes[kept].astype(np.int64),
    )


def best_of_image(found: Detections, count: int) -> Detections:
    """The best `count` detections of all classes, in their order; among equals the first."""
    kept = np.sort(np.argsort(-found.scores, kind="stable")[:count])
    return Detections(found.image_id, found.boxes[kept], found.scores[kept], found.classes[kept])


def _best(values: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Ascending positions of the best `count` values, and of what equals the last of them."""
    if len(values) <= count:
        return np.arange(len(values))
    return np.flatnonzero(values >= np.partition(values, len(values) - count)[len(values) - count])


def _suppressed_by_class(
    boxes: NDArray[np.floating], scores: NDArray[np.floating], classes: NDArray[np.int64], *, iou: float
) -> NDArray[np.int64]:
    """Positions of the boxes that suppression within their class leaves, by class, best first."""
    kept = [np.zeros(0, dtype=np.int64)]
    for c in np.unique(classes):
        own = np.flatnonzero(classes == c)
        kept.append(own[non_maximum_suppression(boxes[own], scores[own], iou=iou)])
    return np.concatenate(kept)


def _best_rows(scores: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Rows of the best `count` scores of each column (min(N, count), C), best first, among equals the first."""
    if len(scores) <= count:
        return np.argsort(-scores, axis=0, kind="stable")
    columns = np.ascontiguousarray(scores.T)  # (C, N)
    floor = np.partition(columns, len(scores) - count, axis=1)[:, len(scores) - count]
    rows = np.empty((count, len(columns)), dtype=np.int64)
    for c, column in enumerate(columns):
        entering = np.flatnonzero(column >= floor[c])
        rows[:, c] = entering[np.argsort(-column[entering], kind="stable")[:count]]
    return rows


def _score_floor(listed: Sequence[NDArray[np.floating]], *, cap: int) -> NDArray[np.float64]:
    """Per class the score that a detection must exceed, (C,); -inf where the whole split has no more than `cap`."""
    if not listed:
        return np.zeros(0)
    values = np.concatenate(listed)  # (total, C)
    if len(values) <= cap:
        return np.full(values.shape[1], -np.inf)
    return np.partition(values, len(values) - cap, axis=0)[len(values) - cap].astype(np.float64)
