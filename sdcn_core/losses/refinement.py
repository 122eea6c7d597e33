"""What pseudo labels ask of a refinement. N proposals, C classes, background is class C."""

from torch import Tensor
from torch.nn import functional as F

from sdcn_core.config.objective import RefinementNormalizer
from sdcn_core.losses.weighting import weight_divisor


def refinement_loss(logits: Tensor, labels: Tensor, weights: Tensor, *, normalizer: RefinementNormalizer) -> Tensor:
    """Weighted cross entropy of one refinement against its pseudo labels, eq. (6); labels re-weighted, eq. (19).

    Args:
        logits: one refinement's, (N, C + 1); the gradient goes here.
        labels: (N,) int64 in [0, C].
        weights: (N,) >= 0, the seed's score of each proposal, without gradient.
        normalizer: `valid_count` divides by the number of weighted proposals: weights are tiny at first, so the loss
            grows as the MIDN becomes sure of itself. `proposal_count` divides by that of all, whether they have a
            weight or not. `weight_sum` takes that growth away.

    Returns:
        () >= 0; 0 with zero gradient where all weights are zero.
    """
    cross_entropy = F.cross_entropy(logits, labels, reduction="none")  # (N,)
    return (weights * cross_entropy).sum() / weight_divisor(weights, normalizer)
