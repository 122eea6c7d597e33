"""What the equations take for granted, in plain loops: softmax, cross entropies, overlaps, regions."""

import math
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = Sequence[float] | Array
Cells = set[tuple[int, int]]


def softmax(values: Sequence[float]) -> list[float]:
    largest = max(values)
    powers = [math.exp(value - largest) for value in values]
    return [power / math.fsum(powers) for power in powers]


def binary_cross_entropy(probability: float, label: float) -> float:
    """L_BCE of one class; a label of 0 or 1 keeps one of the two terms."""
    return -math.log(probability) if label == 1 else -math.log(1 - probability)


def binary_cross_entropy_of_logit(logit: float, label: float) -> float:
    """L_BCE of the sigmoid of a logit."""
    return math.log1p(math.exp(-logit)) if label == 1 else math.log1p(math.exp(logit))


def into(probability: float, eps: float) -> float:
    """The probability kept `eps` away from 0 and 1."""
    return min(max(probability, eps), 1 - eps)


def over_classes(terms: Sequence[float], reduction: str) -> float:
    return math.fsum(terms) / (len(terms) if reduction == "mean" else 1)


def weight_divisor(weights: Numbers, normalizer: str) -> float:
    """What divides a weighted sum over proposals."""
    counted = [float(weight) for weight in weights if weight > 1e-12]
    return {
        "valid_count": float(max(1, len(counted))),
        "proposal_count": float(len(weights)),
        "weight_sum": math.fsum(float(weight) for weight in weights),
    }[normalizer]


def box_iou(box: Numbers, other: Numbers) -> float:
    """IoU of two boxes, xyxy, half-open."""
    inside = max(0.0, min(box[2], other[2]) - max(box[0], other[0])) * max(
        0.0, min(box[3], other[3]) - max(box[1], other[1])
    )
    union = (box[2] - box[0]) * (box[3] - box[1]) + (other[2] - other[0]) * (other[3] - other[1]) - inside
    return inside / union if union > 0 else 0.0


def cells_in(box: Sequence[int]) -> Cells:
    """The cells (row, column) of a box, xyxy in cells, half-open."""
    return {(p, q) for p in range(box[1], box[3]) for q in range(box[0], box[2])}


def cells_of_box(box: Numbers, stride: int, height: int, width: int) -> tuple[int, int, int, int]:
    """The cells a pixel box covers as RoI pooling rounds: first and last cell, halves up, both included."""

    def span(start: float, end: float, limit: int) -> tuple[int, int]:
        first = min(max(math.floor(start / stride + 0.5), 0), limit - 1)
        last = min(max(math.floor((end - 1) / stride + 0.5), first), limit - 1)
        return first, last + 1

    x1, x2 = span(box[0], box[2], width)
    y1, y2 = span(box[1], box[3], height)
    return x1, y1, x2, y2


def regions_of(mask: NDArray[np.bool_], min_cells: int = 1) -> list[Cells]:
    """The 8-connected regions of a mask, found by flooding from each unseen cell in reading order."""
    unseen: Cells = {(int(p), int(q)) for p, q in np.argwhere(mask)}
    regions: list[Cells] = []
    while unseen:
        start = min(unseen)
        unseen.remove(start)
        region, border = {start}, deque([start])
        while border:
            p, q = border.popleft()
            for neighbour in [(p + dp, q + dq) for dp in (-1, 0, 1) for dq in (-1, 0, 1)]:
                if neighbour in unseen:
                    unseen.remove(neighbour)
                    region.add(neighbour)
                    border.append(neighbour)
        if len(region) >= min_cells:
            regions.append(region)
    return regions


def region_iou(region: Cells, other: Cells) -> float:
    return len(region & other) / len(region | other)


def box_around(region: Cells) -> tuple[int, int, int, int]:
    """The tight box, xyxy in cells, half-open."""
    rows, columns = [p for p, _ in region], [q for _, q in region]
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


def present(labels: Numbers) -> list[int]:
    """The k with y(k) = 1, where the background, the last, always is."""
    return [k for k, label in enumerate(labels) if label == 1] + [len(labels)]
