"""What image labels ask of the maps. C classes, background is class C, h x w feature grid."""

import torch
from torch import Tensor

from sdcn_core.losses.cross_entropy import probability_cross_entropy


def mask_presence_loss(maps: Tensor, image_labels: Tensor, *, fraction: float, eps: float) -> Tensor:
    """The strongest pixels of each map speak for its class, eq. (12), summed over all maps as in eq. (13).

    Background is taken to be in every image.

    Args:
        maps: S, (C + 1, h, w) in [0, 1]; the gradient goes to the strongest pixels of each map.
        image_labels: (C,) 0 or 1, of the maps' dtype.
        fraction: share of a map's pixels that is averaged, in (0, 1]; at least one pixel.
        eps: the average is kept this far from 0 and 1.

    Returns:
        () >= 0.
    """
    pixels = maps.flatten(1)  # (C+1, h*w)
    strongest = max(1, round(fraction * pixels.shape[1]))
    presence = pixels.topk(strongest, dim=1, sorted=False).values.mean(dim=1)  # (C+1,)
    labels = torch.cat([image_labels, image_labels.new_ones(1)])
    return probability_cross_entropy(presence, labels, eps=eps).sum()
