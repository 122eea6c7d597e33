"""Which detections a picture shows, and how well those of one image agree with its objects.

M detections and G objects of one image.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from sdcn_core.evaluation.overlaps import box_overlaps
from sdcn_core.structures.annotation import Annotation, Detections, Truth, known_objects


def detection_threshold(detections: Sequence[Detections], truths: Sequence[Truth]) -> float:
    """The score from which on a split has as many detections as it has known objects (images, if it has no object).

    One rule for every network: it looks at scores alone and favours none, however high its scores are in general.
    Infinity where nothing was detected.
    """
    scores = np.sort(np.concatenate([np.zeros(0, np.float32), *(found.scores for found in detections)]))[::-1]
    wanted = sum(len(known_objects(truth)) for truth in truths) or len(truths)
    return float(scores[min(wanted, len(scores)) - 1]) if wanted and len(scores) else float("inf")


def above(found: Detections, threshold: float, *, least: int = 0, most: int) -> Detections:
    """The detections that score `threshold` or more, best first: at most `most`, and `least` whatever they score."""
    order = np.argsort(-found.scores, kind="stable")[:most]
    kept = order[: max(least, int((found.scores[order] >= threshold).sum()))]
    return Detections(found.image_id, found.boxes[kept], found.scores[kept], found.classes[kept])


def matched_overlaps(found: Detections, annotation: Annotation) -> NDArray[np.float64]:
    """The IoU (M,) of each detection with the object it stands for; 0 where it stands for none.

    A detection stands for at most one object of its class, an object is stood for by at most one detection, and pairs
    are chosen so that the IoUs' sum is as large as can be.
    """
    overlaps = box_overlaps(found.boxes, annotation.boxes)  # (M, G)
    overlaps[found.classes[:, None] != annotation.classes[None, :]] = 0.0
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    matched = np.zeros(len(found.boxes))
    matched[rows] = overlaps[rows, columns]
    return matched


def agreement(found: Detections, annotation: Annotation) -> float:
    """How well the shown boxes of an image agree with its objects, in [0, 1]: 2 * sum of matched IoUs / (M + G).

    The F measure with overlaps in place of hits, so that it falls with every missed object, every box that stands for
    none, and every box that fits badly. 1 where there is neither box nor object.
    """
    total = len(found.boxes) + len(annotation.boxes)
    return 2 * float(matched_overlaps(found, annotation).sum()) / total if total else 1.0
