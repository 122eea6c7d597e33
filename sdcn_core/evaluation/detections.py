"""From scores to detections by OICR's protocol. N proposals of an image, C classes; background has no column here."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sdcn_core.evaluation.nms import non_maximum_suppression
from sdcn_core.structures.annotation import Detections


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
        proposals: one (N, 4) an image, xyxy px, half-open.
        nms_iou: a box overlapping a better one by this or more goes.
        boxes_per_class: >= 1.
        boxes_per_image_cap: >= 1.

    Returns:
        One an image; ordered by class, best first within a class.
    """
    # Copied: a slice would keep the whole order alive, of every image of the split at once.
    shortlists = [np.argsort(-s, axis=0, kind="stable")[:boxes_per_class].copy() for s in scores]  # (min(N, limit), C)
    listed = [np.take_along_axis(s, rows, axis=0) for s, rows in zip(scores, shortlists, strict=True)]
    floor = _score_floor(listed, cap=boxes_per_image_cap * len(image_ids))
    detections = []
    for image_id, rows, values, boxes in zip(image_ids, shortlists, listed, proposals, strict=True):
        kept_rows, kept_scores, kept_classes = [], [], []
        for c in range(values.shape[1]):
            entered = values[:, c] > floor[c]
            candidates, candidate_scores = rows[entered, c], values[entered, c]
            kept = non_maximum_suppression(boxes[candidates], candidate_scores, iou=nms_iou)
            kept_rows.append(candidates[kept])
            kept_scores.append(candidate_scores[kept])
            kept_classes.append(np.full(len(kept), c, dtype=np.int64))
        detections.append(
            Detections(
                image_id=image_id,
                boxes=np.asarray(boxes[np.concatenate(kept_rows)], dtype=np.float32),
                scores=np.concatenate(kept_scores).astype(np.float32),
                classes=np.concatenate(kept_classes),
            )
        )
    return tuple(detections)


def _score_floor(listed: Sequence[NDArray[np.floating]], *, cap: int) -> NDArray[np.float64]:
    """Per class the score that a detection must exceed, (C,); -inf where the whole split has no more than `cap`."""
    if not listed:
        return np.zeros(0)
    values = np.concatenate(listed)  # (total, C)
    if len(values) <= cap:
        return np.full(values.shape[1], -np.inf)
    return np.partition(values, len(values) - cap, axis=0)[len(values) - cap].astype(np.float64)
