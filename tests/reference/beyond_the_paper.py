"""What others have found since, as options: slow twins written from their papers.

B proposals, N classes.
"""

import math
from collections.abc import Sequence

import numpy as np

from tests.reference.arithmetic import Array, Cells, Numbers, cells_in


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


def mean_over(values: Array, cells: Cells) -> float:
    return math.fsum(float(values[cell]) for cell in cells) / len(cells) if cells else 0.0
