"""What pseudo pixel labels ask of the maps. C classes, background is class C, h x w feature grid."""

from torch import Tensor
from torch.nn import functional as F

from sdcn_core.structures.labels import IGNORED


def pixel_label_loss(map_logits: Tensor, pixel_labels: Tensor) -> Tensor:
    """Cross entropy of the maps against pseudo pixel labels, mean over the pixels that have one, eq. (23).

    Args:
        map_logits: the maps before their softmax, (C + 1, h, w); the gradient goes to the labelled pixels.
        pixel_labels: psi(S^det), (h, w) int64 in [0, C] or `IGNORED`.

    Returns:
        () >= 0; 0 with zero gradient where every pixel is ignored.
    """
    total = F.cross_entropy(map_logits[None], pixel_labels[None], ignore_index=IGNORED, reduction="sum")
    return total / (pixel_labels != IGNORED).sum().clamp(min=1)
