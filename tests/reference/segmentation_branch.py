"""Section 3.2, the segmentation branch: equations (8) to (15). N classes, the background map is s_N counted from 0.

f^C is not evaluated here: the logits it gives for a masked image come in, one row of N for each present class.
"""

import math
from collections.abc import Sequence

import numpy as np

from tests.reference.arithmetic import (
    Array,
    Numbers,
    binary_cross_entropy,
    binary_cross_entropy_of_logit,
    into,
    over_classes,
    present,
    softmax,
)


def eq_8_maps(logits: Array) -> Array:
    """S: softmax over the N + 1 channels of each pixel, (N + 1, h, w) -> (N + 1, h, w)."""
    maps = np.zeros_like(logits)
    channels, height, width = logits.shape
    for p in range(height):
        for q in range(width):
            for k, value in enumerate(softmax([float(logits[k, p, q]) for k in range(channels)])):
                maps[k, p, q] = value
    return maps


def eq_9_map(maps: Array, k: int) -> Array:
    """s_k, the k-th channel of S: (h, w)."""
    height, width = maps.shape[1:]
    return np.array([[maps[k, p, q] for q in range(width)] for p in range(height)])


def eq_10_segmentation(losses: Sequence[float]) -> float:
    """L^S, the sum of the losses L^S(s_k) of the N + 1 channels."""
    return math.fsum(losses)


def eq_11_adversarial(kept_logits: Numbers, erased_logits: Numbers, labels: Numbers, k: int, reduction: str) -> float:
    """L_adv(s_k); with k = N the background's labels."""
    terms = []
    for i, label in enumerate(labels):
        only_k = 1 if i == k else 0  # k = N marks none
        without_k = 0 if i == k else label  # k = N leaves all
        terms.append(
            binary_cross_entropy_of_logit(float(kept_logits[i]), only_k)
            + binary_cross_entropy_of_logit(float(erased_logits[i]), without_k)
        )
    return over_classes(terms, reduction)


def eq_12_presence(map_k: Array, label: float, fraction: float, eps: float) -> float:
    """L_cls(s_k): the mean of the strongest `fraction` of the pixels against the label."""
    pixels = sorted((float(value) for value in map_k.flatten()), reverse=True)
    count = max(1, round(fraction * len(pixels)))
    return binary_cross_entropy(into(math.fsum(pixels[:count]) / count, eps), label)


def eq_13_segmentation(
    maps: Array,
    kept_logits: Array,
    erased_logits: Array,
    labels: Numbers,
    *,
    lambda_adv: float,
    lambda_cls: float,
    fraction: float,
    eps: float,
    reduction: str,
) -> float:
    """L^S: L_adv over the present classes, the background among them, and L_cls over all channels."""
    adversarial = [
        eq_11_adversarial(kept_logits[row], erased_logits[row], labels, k, reduction)
        for row, k in enumerate(present(labels))
    ]
    presence = [eq_12_presence(eq_9_map(maps, k), label, fraction, eps) for k, label in enumerate([*labels, 1])]
    return lambda_adv * math.fsum(adversarial) + lambda_cls * math.fsum(presence)


def eq_14_classifier(erased_logits: Numbers, labels: Numbers, reduction: str) -> float:
    """L^C_adv(s_k): what f^C says of I * (1 - s_k) against all of y."""
    terms = [
        binary_cross_entropy_of_logit(float(logit), label) for logit, label in zip(erased_logits, labels, strict=True)
    ]
    return over_classes(terms, reduction)


def eq_15_classifier(whole_logits: Numbers, erased_logits: Array, labels: Numbers, reduction: str) -> float:
    """L^C: the whole image, and each given row of erased ones."""
    whole = [
        binary_cross_entropy_of_logit(float(logit), label) for logit, label in zip(whole_logits, labels, strict=True)
    ]
    return over_classes(whole, reduction) + math.fsum(eq_14_classifier(row, labels, reduction) for row in erased_logits)
