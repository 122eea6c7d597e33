"""Random and hand-made images for the tests of this folder."""

import numpy as np
from numpy.typing import NDArray

from sdcn_core.structures.annotation import Annotation, Detections

FloatArray = NDArray[np.float32]


def annotation(boxes: object, classes: object, difficult: object = None, image_id: str = "im") -> Annotation:
    box_array = np.array(boxes, dtype=np.float32).reshape(-1, 4)
    flags = np.zeros(len(box_array), bool) if difficult is None else np.array(difficult, dtype=bool)
    return Annotation(image_id, box_array, np.array(classes, dtype=np.int64), flags)


def detections(boxes: object, scores: object, classes: object, image_id: str = "im") -> Detections:
    return Detections(
        image_id,
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(scores, dtype=np.float32),
        np.array(classes, dtype=np.int64),
    )


def random_boxes(rng: np.random.Generator, count: int, side: int = 12) -> FloatArray:
    """Small whole-number boxes, so that overlaps of exactly a threshold are common."""
    corners = rng.integers(0, side, (count, 2))
    return np.concatenate([corners, corners + rng.integers(1, side, (count, 2))], axis=1).astype(np.float32)


def random_scores(rng: np.random.Generator, *shape: int) -> FloatArray:
    """Scores of which some tie."""
    return (rng.integers(0, 50, shape) / 50).astype(np.float32)
