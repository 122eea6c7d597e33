"""What pseudo labels ask of a refinement. N proposals, C classes, background is class C."""

from typing import Literal, assert_never

import torch
from torch import Tensor
from torch.nn import functional as F

_NO_WEIGHT = 1e-12  # OICR's threshold, below which a proposal does not count


def refinement_loss(
    logits: Tensor, labels: Tensor, weights: Tensor, *, normalizer: Literal["valid_count", "weight_sum"]
) -> Tensor:
    """Weighted cross entropy of one refinement against its pseudo labels, eq. (6); labels re-weighted, eq. (19).

    Args:
        logits: one refinement's, (N, C + 1); the gradient goes here.
        labels: (N,) int64 in [0, C].
        weights: (N,) >= 0, the seed's score of each proposal, without gradient.
        normalizer: `valid_count` divides by the number of weighted proposals: weights are tiny at first, so the loss
            grows as the MIDN becomes sure of itself. `weight_sum` takes that away.

    Returns:
        () >= 0; 0 with zero gradient where all weights are zero.
    """
    cross_entropy = F.cross_entropy(logits, labels, reduction="none")  # (N,)
    match normalizer:
        case "valid_count":
            divisor = (weights > _NO_WEIGHT).sum().clamp(min=1)
        case "weight_sum":
            divisor = weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        case _:
            assert_never(normalizer)
    return (weights * cross_entropy).sum() / divisor
