"""What image labels ask of the MIDN's scores. N proposals, C classes."""

from typing import Literal

from torch import Tensor

from sdcn_core.losses.cross_entropy import probability_cross_entropy


def mil_loss(scores: Tensor, image_labels: Tensor, *, eps: float, reduction: Literal["mean", "sum"]) -> Tensor:
    """Multiple instance loss: the proposals of an image together show its classes, eq. (3); re-weighted, eq. (18).

    Args:
        scores: D^m or its re-weighted form, (N, C) in [0, 1]; the gradient goes here.
        image_labels: (C,) 0 or 1, of the scores' dtype.
        eps: the sum over proposals is kept this far from 0 and 1. It may pass 1 by rounding; below 1e-7 the distance
            itself vanishes in float32.
        reduction: over classes. The paper writes a sum; OICR's gradient is the mean.

    Returns:
        () >= 0.
    """
    losses = probability_cross_entropy(scores.sum(dim=0), image_labels, eps=eps)  # (C,)
    return losses.mean() if reduction == "mean" else losses.sum()
