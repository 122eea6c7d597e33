"""Segmentation instructs detection.

N proposals, C classes, background is class C, P present classes, J regions, h x w feature grid.
"""

from typing import Literal, assert_never

import torch
from torch import Tensor

from sdcn_core.structures.boxes import box_iou
from sdcn_core.structures.labels import present_classes
from sdcn_core.structures.regions import connected_components, region_box_iou, region_boxes


@torch.no_grad()
def binarize_maps(
    maps: Tensor, image_labels: Tensor, *, binarization: Literal["argmax", "relative"], threshold: float
) -> Tensor:
    """The maps as masks, whose regions eq. (17) compares with the proposals.

    Args:
        maps: S, (C + 1, h, w) in [0, 1].
        image_labels: (C,) 0 or 1; an absent class has an empty mask.
        binarization: `argmax`: a pixel belongs to the strongest of the present classes and background (the first in a
            tie), so that masks are disjoint; `relative`: to each class whose map exceeds `threshold` of its maximum.
        threshold: in (0, 1), for `relative` only.

    Returns:
        (C, h, w) bool, without gradient.
    """
    present = present_classes(image_labels)  # (P,)
    positive = present[:-1]
    match binarization:
        case "argmax":
            rows = torch.arange(len(positive), device=maps.device)
            chosen = maps[present].argmax(dim=0) == rows[:, None, None]  # (P-1, h, w)
        case "relative":
            chosen = maps[positive] > threshold * maps[positive].amax(dim=(1, 2), keepdim=True)
        case _:
            assert_never(binarization)
    masks = torch.zeros_like(maps[:-1], dtype=torch.bool)  # (C, h, w)
    masks[positive] = chosen
    return masks


def segmentation_prior(
    masks: Tensor, cells: Tensor, *, tau_0: float, region_overlap: Literal["region", "bbox"], min_region_cells: int
) -> Tensor:
    """How well each proposal covers one segmented region of each class: D^seg, eq. (17), each column over its maximum.

    Args:
        masks: the binarized maps, (C, h, w) bool.
        cells: the proposals on the grid, (N, 4) int64 xyxy in cells, half-open, each at least one cell, N >= 1.
        tau_0: tolerance for a wrong segmentation, > 0; larger trusts the masks less.
        region_overlap: IoU with the region's cells, or with the box around them.
        min_region_cells: smaller regions are ignored, >= 1.

    Returns:
        (N, C) float32 in (0, 1], a constant. A class without a region has no opinion: all ones.

    Raises:
        ValueError: tau_0 <= 0 (a region that no proposal touches would divide by zero).
    """
    if tau_0 <= 0:
        raise ValueError(f"tau_0 must be > 0, got {tau_0}")
    prior = torch.ones(len(cells), len(masks), device=masks.device)  # (N, C)
    for k in masks.flatten(1).any(dim=1).nonzero().flatten().tolist():
        regions = connected_components(masks[k], min_cells=min_region_cells)  # (J, h, w)
        if len(regions) == 0:
            continue
        match region_overlap:
            case "region":
                overlap = region_box_iou(regions, cells)  # (J, N)
            case "bbox":
                overlap = box_iou(region_boxes(regions).float(), cells.float())
            case _:
                assert_never(region_overlap)
        degree = overlap.amax(dim=0) + tau_0  # (N,)
        prior[:, k] = degree / degree.max()
    return prior


def apply_segmentation_prior(midn_scores: Tensor, prior: Tensor) -> Tensor:
    """The re-weighted scores, eq. (16): (N, C) times (N, C).

    The prior is a constant: the gradient goes to the scores alone.
    """
    return midn_scores * prior.detach()
