"""Section 3.1, the detection branch: equations (1) to (7).

B proposals, N classes, the background is class N counted from 0.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.reference.arithmetic import (
    Array,
    Numbers,
    binary_cross_entropy,
    box_iou,
    into,
    over_classes,
    present,
    softmax,
    weight_divisor,
)


def eq_1_detection(refinements: Sequence[Array]) -> Array:
    """D, the mean of the refinements' D^r (appendix A): K times (B, N + 1) -> (B, N + 1)."""
    detection = np.zeros_like(refinements[0])
    for i in range(detection.shape[0]):
        for j in range(detection.shape[1]):
            detection[i, j] = math.fsum(refinement[i, j] for refinement in refinements) / len(refinements)
    return detection


def eq_2_midn(proposal_logits: Array, class_logits: Array) -> Array:
    """D^m: softmax over proposals times softmax over classes, both (B, N) -> (B, N)."""
    scores = np.zeros_like(proposal_logits)
    count, classes = scores.shape
    across_proposals = [softmax([float(proposal_logits[i, j]) for i in range(count)]) for j in range(classes)]
    across_classes = [softmax([float(class_logits[i, j]) for j in range(classes)]) for i in range(count)]
    for i in range(count):
        for j in range(classes):
            scores[i, j] = across_proposals[j][i] * across_classes[i][j]
    return scores


def eq_3_mil(scores: Array, labels: Numbers, eps: float, reduction: str) -> float:
    """L_mil of D^m (B, N) and y (N)."""
    terms = []
    for j, label in enumerate(labels):
        image_score = math.fsum(float(scores[i, j]) for i in range(scores.shape[0]))
        terms.append(binary_cross_entropy(into(image_score, eps), label))
    return over_classes(terms, reduction)


def eq_4_kappa(
    scores: Array, boxes: Array, labels: Numbers, foreground_iou: float, ignored_below_iou: float = 0.0
) -> tuple[NDArray[np.int64], Array]:
    """The pseudo label and the weight of every proposal, as OICR takes them; with a limit, as PCL does: (B), (B)."""
    count, background = len(boxes), len(labels)
    seeds: list[tuple[int, int, float]] = []  # class, proposal, score
    taken: set[int] = set()
    for k in present(labels)[:-1]:
        best, best_score = 0, -math.inf
        for i in range(count):
            score = 0.0 if i in taken else float(scores[i, k])
            if score > best_score:
                best, best_score = i, score
        taken.add(best)
        seeds.append((k, best, best_score))
    chosen = np.full(count, background, dtype=np.int64)
    weights = np.zeros(count)
    for i in range(count):
        best_iou = -1.0
        for k, seed, score in seeds:
            overlap = box_iou(boxes[i], boxes[seed])
            if overlap > best_iou:
                best_iou, weights[i] = overlap, score if overlap >= ignored_below_iou else 0.0
                chosen[i] = k if overlap >= foreground_iou else background
    return chosen, weights


def eq_5_refinement(logits: Array) -> Array:
    """D^r, row by row: (B, N + 1) -> (B, N + 1)."""
    return np.array([softmax([float(value) for value in row]) for row in logits])


def eq_6_refinement(
    logits: Array, chosen: Sequence[int] | NDArray[np.int64], weights: Numbers, normalizer: str
) -> float:
    """L_ref: the double sum of the weighted cross entropy of D^r (B, N + 1) against Y^r, its ones at `chosen`."""
    detection = eq_5_refinement(logits)
    terms = []
    for i in range(detection.shape[0]):
        for j in range(detection.shape[1]):
            one_hot = 1 if chosen[i] == j else 0
            terms.append(-float(weights[i]) * one_hot * math.log(detection[i, j]))
    divisor = weight_divisor(weights, normalizer)
    return math.fsum(terms) / divisor if divisor > 0 else 0.0


def eq_7_detection(mil: float, refinements: Sequence[float], lambda_mil: float, lambda_ref: float) -> float:
    """L^D, the refinements' losses added up."""
    return lambda_mil * mil + lambda_ref * math.fsum(refinements)
