"""Beyond the paper: what seeds ask of a refinement's box regression. N proposals, C classes, background is class C."""

from torch import Tensor
from torch.nn import functional as F

from sdcn_core.config.objective import RefinementNormalizer
from sdcn_core.losses.weighting import weight_divisor
from sdcn_core.structures.box_deltas import DELTA_UNITS, encode_boxes


def box_regression_loss(
    deltas: Tensor,
    proposals: Tensor,
    labels: Tensor,
    weights: Tensor,
    seed_boxes: Tensor,
    *,
    normalizer: RefinementNormalizer,
) -> Tensor:
    """Weighted smooth L1 between where a refinement moves its foreground proposals and their seeds (MIST).

    Of a proposal only the deltas of its own class are looked at, in DELTA_UNITS, with the corner of the smooth L1 at 1.
    Background teaches nothing here, but counts in the divisor, which is that of the refinement's cross entropy.

    Args:
        deltas: one refinement's, (N, C, 4) in DELTA_UNITS; the gradient goes to those of foreground proposals.
        proposals: (N, 4) xyxy px, half-open.
        labels: (N,) int64 in [0, C].
        weights: (N,) >= 0, without gradient.
        seed_boxes: (N, 4) xyxy px, half-open; those of foreground proposals overlap them.
        normalizer: as of `refinement_loss`.

    Returns:
        () >= 0; 0 with zero gradient where there is no foreground.
    """
    foreground = (labels < deltas.shape[1]).nonzero().flatten()  # (F,)
    own = deltas[foreground, labels[foreground]]  # (F, 4)
    targets = encode_boxes(proposals[foreground], seed_boxes[foreground])
    targets = targets / targets.new_tensor(DELTA_UNITS)
    distance = F.smooth_l1_loss(own, targets, reduction="none", beta=1.0).sum(dim=1)  # (F,)
    return (weights[foreground] * distance).sum() / weight_divisor(weights, normalizer)
