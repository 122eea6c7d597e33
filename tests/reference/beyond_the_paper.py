"""What others have found since, as options: slow twins written from their papers.

B proposals, N classes.
"""

import math
from collections.abc import Sequence

import numpy as np

from tests.reference.arithmetic import Array, Cells, Numbers, box_iou, cells_in, present, weight_divisor
from tests.reference.fast_rcnn import delta

UNITS = (0.1, 0.1, 0.2, 0.2)
"""in which deltas are predicted"""


def ts2c_prior(
    maps: Array, boxes: Sequence[Sequence[int]], labels: Numbers, tau_0: float, surrounding_scale: float
) -> Array:
    """TS2C's objectness of every box, mean response inside minus mean around, in the place of eq. (17)'s IoU: (B, N).

    Boxes in cells, xyxy, half-open. An absent class has no map that counts.
    """
    height, width = maps.shape[1:]
    grid = cells_in((0, 0, width, height))
    prior = np.ones((len(boxes), len(labels)))
    for k, label in enumerate(labels):
        if label != 1:
            continue
        for i, (x1, y1, x2, y2) in enumerate(boxes):
            inside = cells_in((x1, y1, x2, y2))
            across = (surrounding_scale - 1) * (x2 - x1) / 2
            down = (surrounding_scale - 1) * (y2 - y1) / 2
            enlarged = (
                math.floor(x1 - across),
                math.floor(y1 - down),
                math.ceil(x2 + across),
                math.ceil(y2 + down),
            )
            around = (cells_in(enlarged) & grid) - inside
            prior[i, k] = max(0.0, mean_over(maps[k], inside) - mean_over(maps[k], around)) + tau_0
        prior[:, k] /= max(prior[i, k] for i in range(len(boxes)))
    return prior


def seed_of_each(scores: Array, boxes: Array, labels: Numbers) -> list[int]:
    """The proposal that is the seed of every proposal, as OICR chooses seeds; of an image with a positive class."""
    remaining = scores.copy()
    seeds = []
    for k in present(labels)[:-1]:
        seeds.append(int(np.argmax(remaining[:, k])))
        remaining[seeds[-1]] = 0
    return [seeds[int(np.argmax([box_iou(box, boxes[seed]) for seed in seeds]))] for box in boxes]


def mist_regression(
    deltas: Array, boxes: Array, seeds: Sequence[int], chosen: Sequence[int], weights: Sequence[float], normalizer: str
) -> float:
    """MIST's regression loss of one refinement: deltas (B, N, 4) in UNITS, `chosen` with background N."""
    terms = []
    for i, label in enumerate(chosen):
        if label == deltas.shape[1]:
            continue
        target = delta(boxes[i], boxes[seeds[i]])
        apart = [abs(deltas[i, label, c] - target[c] / UNITS[c]) for c in range(4)]
        terms.append(weights[i] * math.fsum(0.5 * d * d if d < 1 else d - 0.5 for d in apart))
    divisor = weight_divisor(weights, normalizer)
    return math.fsum(terms) / divisor if divisor > 0 else 0.0


def mean_over(values: Array, cells: Cells) -> float:
    return math.fsum(float(values[cell]) for cell in cells) / len(cells) if cells else 0.0
