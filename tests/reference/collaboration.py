"""Section 3.3, the collaboration: equations (16) to (25).

B proposals, N classes, the background is class N counted from 0.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.reference.arithmetic import Array, Numbers, box_around, box_iou, cells_in, present, region_iou, regions_of
from tests.reference.detection_branch import eq_3_mil, eq_4_kappa, eq_6_refinement
from tests.reference.segmentation_branch import eq_8_maps

IGNORED = -100


def eq_16_reweighted(midn: Array, prior: Array) -> Array:
    """The product, element by element: (B, N)."""
    product = np.zeros_like(midn)
    for i in range(midn.shape[0]):
        for k in range(midn.shape[1]):
            product[i, k] = midn[i, k] * prior[i, k]
    return product


def masks_of(maps: Array, labels: Numbers, binarization: str, threshold: float) -> NDArray[np.bool_]:
    """The maps made binary, the step before the connected components of eq. (17): (N, h, w)."""
    masks = np.zeros((len(labels), *maps.shape[1:]), dtype=np.bool_)
    candidates = present(labels)
    for k in candidates[:-1]:
        peak = max(float(value) for value in maps[k].flatten())
        for p in range(maps.shape[1]):
            for q in range(maps.shape[2]):
                strongest = max(candidates, key=lambda c: maps[c, p, q])
                masks[k, p, q] = strongest == k if binarization == "argmax" else maps[k, p, q] > threshold * peak
    return masks


def eq_17_prior(
    masks: NDArray[np.bool_], boxes: Sequence[Sequence[int]], tau_0: float, overlap: str = "region", min_cells: int = 1
) -> Array:
    """D^seg, normalized: (B, N). Boxes in cells, xyxy, half-open; a class without a region counts IoU 0 everywhere."""
    prior = np.zeros((len(boxes), len(masks)))
    for k, mask in enumerate(masks):
        regions = regions_of(mask, min_cells)
        for i, box in enumerate(boxes):
            if overlap == "region":
                degrees = [region_iou(region, cells_in(box)) for region in regions]
            else:
                degrees = [box_iou(box_around(region), box) for region in regions]
            prior[i, k] = max(degrees, default=0.0) + tau_0
        largest = max(prior[i, k] for i in range(len(boxes)))
        for i in range(len(boxes)):
            prior[i, k] /= largest
    return prior


def eq_18_mil(midn: Array, prior: Array, labels: Numbers, eps: float, reduction: str) -> float:
    return eq_3_mil(eq_16_reweighted(midn, prior), labels, eps, reduction)


def eq_19_refinement(
    logits: Array,
    midn: Array,
    prior: Array,
    boxes: Array,
    labels: Numbers,
    foreground_iou: float,
    normalizer: str,
) -> float:
    """The first refinement's loss with pseudo labels from the re-weighted scores."""
    chosen, weights = eq_4_kappa(eq_16_reweighted(midn, prior), boxes, labels, foreground_iou)
    return eq_6_refinement(logits, chosen.tolist(), weights.tolist(), normalizer)


def eq_20_detection(mil: float, refinements: Sequence[float], lambda_mil: float, lambda_ref: float) -> float:
    return lambda_mil * mil + lambda_ref * math.fsum(refinements)


def eq_21_heatmap(detection: Array, boxes: Sequence[Sequence[int]], labels: Numbers, height: int, width: int) -> Array:
    """s^det of the N classes, each divided by its maximum: (N, h, w). Boxes in cells, xyxy, half-open."""
    heat = np.zeros((len(labels), height, width))
    for k, label in enumerate(labels):
        if label != 1:
            continue
        for p in range(height):
            for q in range(width):
                heat[k, p, q] = math.fsum(
                    float(detection[i, k]) for i, (x1, y1, x2, y2) in enumerate(boxes) if x1 <= q < x2 and y1 <= p < y2
                )
        peak = max(float(value) for value in heat[k].flatten())
        if peak > 0:
            heat[k] /= peak
    return heat


def eq_22_background(heat: Array) -> Array:
    """(N, h, w) -> (h, w)."""
    return np.array(
        [
            [1 - max(float(heat[k, p, q]) for k in range(heat.shape[0])) for q in range(heat.shape[2])]
            for p in range(heat.shape[1])
        ]
    )


def eq_23_psi(heatmaps: Array, labels: Numbers, fraction: float) -> NDArray[np.int64]:
    """psi(S^det): (N + 1, h, w) -> (h, w). Among equally hot pixels the first in reading order is kept."""
    _, height, width = heatmaps.shape
    pixels = [(p, q) for p in range(height) for q in range(width)]
    hottest = {pixel: max(present(labels), key=lambda k: heatmaps[(k, *pixel)]) for pixel in pixels}
    chosen = np.full((height, width), IGNORED, dtype=np.int64)
    for k in present(labels):
        own = sorted((pixel for pixel in pixels if hottest[pixel] == k), key=lambda pixel: -heatmaps[(k, *pixel)])
        for pixel in own[: max(1, round(fraction * len(own)))]:
            chosen[pixel] = k
    return chosen


def eq_23_pixels(map_logits: Array, chosen: NDArray[np.int64]) -> float:
    """L_seg: the mean cross entropy of S over the pixels that have a label."""
    maps = eq_8_maps(map_logits)
    kept = [(p, q) for p in range(chosen.shape[0]) for q in range(chosen.shape[1]) if chosen[p, q] != IGNORED]
    terms = [-math.log(maps[chosen[p, q], p, q]) for p, q in kept]
    return math.fsum(terms) / len(terms) if terms else 0.0


def eq_24_segmentation(segmentation: float, instructive: float, lambda_seg: float) -> float:
    return segmentation + lambda_seg * instructive


def eq_25_total(segmentation: float, detection: float) -> float:
    """L of the whole network, whose argmin over f^E, f^S and f^D is sought."""
    return segmentation + detection
