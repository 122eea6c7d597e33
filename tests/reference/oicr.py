"""OICR (Tang et al., CVPR 2017) once more and on its own, from what its published layers compute.

The other twins follow the equations of the paper that this code implements; this one follows the layers of OICR's
network, in their order and in their convention: boxes include their last pixel, areas add one, and gradients are
written out. It shares nothing with them. N proposals, C classes, background is class C.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

Rows = Sequence[Sequence[float]]
EPS = 1e-6
VALID = 1e-12


@dataclass(frozen=True)
class Refined:
    """One refinement: what it is taught, and what that costs."""

    seeds: dict[int, int]
    """class -> proposal"""
    labels: list[int]
    weights: list[float]
    loss: float
    gradient: list[list[float]]
    """d loss / d logits, (N, C + 1)"""


@dataclass(frozen=True)
class Oicr:
    mil: float
    mil_gradient: list[list[float]]
    """d mil / d scores, (N, C)"""
    refinements: list[Refined]


def oicr(midn: Rows, logits: Sequence[Rows], boxes: Rows, image_labels: Sequence[int]) -> Oicr:
    """The whole of it on one image.

    Args:
        midn: (N, C), the product of WSDDN's two softmaxes.
        logits: K times (N, C + 1).
        boxes: (N, 4) x1 y1 x2 y2, whole pixels, half-open; made inclusive here.
        image_labels: (C) 0 or 1.
    """
    inclusive = [(x1, y1, x2 - 1, y2 - 1) for x1, y1, x2, y2 in boxes]
    mil, mil_gradient = multi_class_cross_entropy(midn, image_labels)
    refinements: list[Refined] = []
    teacher = [list(row) for row in midn]
    for branch in logits:
        probabilities = [exponentials(row) for row in branch]
        refinements.append(refine(teacher, probabilities, inclusive, image_labels))
        teacher = [row[:-1] for row in probabilities]
    return Oicr(mil, mil_gradient, refinements)


def multi_class_cross_entropy(scores: Rows, image_labels: Sequence[int]) -> tuple[float, list[list[float]]]:
    """The image's loss, with the gradient that the layer propagates: it is the mean over classes."""
    count = len(image_labels)
    loss, slopes = 0.0, []
    for j, present in enumerate(image_labels):
        total = math.fsum(row[j] for row in scores)
        kept = min(1 - EPS, max(EPS, total))
        loss -= math.log(kept if present else 1 - kept) / count
        slope = (-1 / kept if present else 1 / (1 - kept)) / count
        slopes.append(slope if EPS <= total <= 1 - EPS else 0.0)
    return loss, [list(slopes) for _ in scores]


def refine(
    teacher: Rows,
    probabilities: Rows,
    boxes: Sequence[tuple[float, float, float, float]],
    image_labels: Sequence[int],
) -> Refined:
    background = len(image_labels)
    remaining = [list(row) for row in teacher]
    seeds: dict[int, int] = {}
    seed_scores: dict[int, float] = {}
    for j in [j for j, present in enumerate(image_labels) if present]:
        column = [row[j] for row in remaining]
        top = column.index(max(column))  # the first of equals
        seeds[j], seed_scores[j] = top, column[top]
        remaining[top] = [0.0] * background
    labels, weights = [], []
    for box in boxes:
        overlaps = {j: inclusive_iou(box, boxes[seed]) for j, seed in seeds.items()}
        if not overlaps:
            labels.append(background)
            weights.append(0.0)
            continue
        largest = max(overlaps.values())
        owner = min(j for j, overlap in overlaps.items() if overlap == largest)
        labels.append(owner if largest >= 0.5 else background)
        weights.append(seed_scores[owner])
    valid = max(1, len([weight for weight in weights if weight > VALID]))
    loss = math.fsum(
        -weight * math.log(row[label]) for row, label, weight in zip(probabilities, labels, weights, strict=True)
    )
    gradient = [
        [weight * (p - (c == label)) / valid for c, p in enumerate(row)]
        for row, label, weight in zip(probabilities, labels, weights, strict=True)
    ]
    return Refined(seeds, labels, weights, loss / valid, gradient)


def inclusive_iou(box: Sequence[float], other: Sequence[float]) -> float:
    """As the VOC tools count: a box of one pixel has x1 == x2 and area 1."""

    def area(b: Sequence[float]) -> float:
        return (b[2] - b[0] + 1) * (b[3] - b[1] + 1)

    width = min(box[2], other[2]) - max(box[0], other[0]) + 1
    height = min(box[3], other[3]) - max(box[1], other[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (area(box) + area(other) - width * height)


def exponentials(row: Sequence[float]) -> list[float]:
    """Softmax."""
    powers = [math.exp(value - max(row)) for value in row]
    return [power / math.fsum(powers) for power in powers]
