"""psi: pixel labels nobody drew. C classes, background is class C, P present classes, h x w feature grid."""

import torch
from torch import Tensor

from sdcn_core.structures.labels import IGNORED, present_classes

__all__ = ["IGNORED", "mine_pixels"]


@torch.no_grad()
def mine_pixels(heatmaps: Tensor, image_labels: Tensor, *, fraction: float, generator: torch.Generator) -> Tensor:
    """Pseudo pixel labels from heatmaps: psi(S^det) of eq. (23).

    The hottest class labels a pixel (the lowest class in a tie); then each class keeps the hottest share of its own
    pixels, at least one, and the rest is ignored. Equally hot pixels are drawn by lot: all the uncovered ones are
    background of heat 1, and an order by place would always teach the same corner.

    Args:
        heatmaps: S^det, (C + 1, h, w) in [0, 1]; the channels of absent classes are not looked at.
        image_labels: (C,) 0 or 1.
        fraction: share of a class's pixels that is kept, in (0, 1].
        generator: draws the lots; advanced by one permutation of the pixels.

    Returns:
        (h, w) int64 in [0, C] or `IGNORED`, without gradient.
    """
    present = present_classes(image_labels)  # (P,)
    heat, owner = heatmaps[present].flatten(1).max(dim=0)  # (h*w,)
    lots = torch.randperm(len(heat), generator=generator, device=generator.device).to(heat.device)
    hottest_first = lots[heat[lots].argsort(descending=True, stable=True)]
    owner_by_heat = owner[hottest_first]
    labels = torch.full_like(owner, IGNORED)
    for row, class_index in enumerate(present.tolist()):
        own = hottest_first[owner_by_heat == row]
        labels[own[: max(1, round(fraction * len(own)))]] = class_index
    return labels.view(heatmaps.shape[1:])
