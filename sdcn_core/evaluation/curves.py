"""Precision over recall, thinned for plots. T detections of a class."""

import numpy as np
from numpy.typing import NDArray

from sdcn_core.evaluation.average_precision import ELEVEN_RECALLS, ClassAP

MOST_POINTS = 101


def thinned_curve(result: ClassAP) -> tuple[list[float], list[float]]:
    """Recall and precision of at most MOST_POINTS of the T points, in their order; both empty where T is 0.

    First and last point stay, and those from which the eleven-point AP is read: it is the same before and after. The
    others are evenly spread over the recall that was reached.
    """
    count = len(result.recall)
    if count <= MOST_POINTS:
        kept = np.arange(count)
    else:
        fixed = np.unique([0, count - 1, *_read_points(result.precision, result.recall)])
        levels = np.linspace(0.0, result.recall[-1], MOST_POINTS - len(fixed))
        kept = np.unique([*fixed, *np.searchsorted(result.recall, levels).clip(max=count - 1)])
    return result.recall[kept].tolist(), result.precision[kept].tolist()


def _read_points(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> list[int]:
    """Where the best precision at each of eleven recalls, or at a larger one, stands; recalls not reached have none."""
    starts = np.searchsorted(recall, ELEVEN_RECALLS)
    return [int(start + precision[start:].argmax()) for start in starts if start < len(recall)]
