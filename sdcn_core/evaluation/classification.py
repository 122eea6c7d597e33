"""Average precision of image labels: how well a detector ranks the images that have a class before those that do not.

It needs no box, so it can be counted wherever labels are known. N proposals of one image, I images, C classes.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sdcn_core.data.image_set import AnnotatedSet
from sdcn_core.evaluation.average_precision import ranked_ap


def classification_average_precision(
    annotated: AnnotatedSet, scores: Sequence[NDArray[np.floating]], *, flavour: Literal["voc07_11point", "area"]
) -> tuple[float | None, ...]:
    """AP (C,) of each class over the images of a split; None where no image has the class.

    An image's score of a class is that of its best proposal: what its best detection has. An image in which all objects
    of the class are difficult is left out of the class's ranking, as in VOC's classification task. Among equal scores
    the earlier image counts as the better one.

    Args:
        annotated: the split.
        scores: (N, C) of each image's proposals, N >= 1, in the order of the split.
        flavour: see `average_precision`.
    """
    records = annotated.image_set.records
    num_classes = len(annotated.image_set.classes)
    best = np.array([of_image.max(axis=0) for of_image in scores]).reshape(len(records), num_classes)  # (I, C)
    has_class = np.zeros(best.shape, bool)
    counts = np.ones(best.shape, bool)
    for index, record in enumerate(records):
        has_class[index, list(record.labels)] = True
        if annotated.annotations is not None:
            counts[index, annotated.annotations[index].classes] = False
    counts |= has_class
    order = np.argsort(-best, axis=0, kind="stable")  # (I, C)
    aps = []
    for c in range(num_classes):
        ranked = order[:, c][counts[order[:, c], c]]
        aps.append(ranked_ap(has_class[ranked, c], int(has_class[:, c].sum()), flavour).ap)
    return tuple(aps)
