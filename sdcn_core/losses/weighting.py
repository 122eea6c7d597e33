"""What divides a sum over weighted proposals. N proposals."""

from typing import assert_never

import torch
from torch import Tensor

from sdcn_core.config.objective import RefinementNormalizer

_NO_WEIGHT = 1e-12  # OICR's threshold, below which a proposal does not count


def weight_divisor(weights: Tensor, normalizer: RefinementNormalizer) -> Tensor:
    """() > 0: the number of proposals that have a weight, that of all proposals, or the sum of weights (N,).

    Without any weight a number by which zero can be divided.
    """
    match normalizer:
        case "valid_count":
            return (weights > _NO_WEIGHT).sum().clamp(min=1)
        case "proposal_count":
            return weights.new_tensor(len(weights))
        case "weight_sum":
            return weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        case _:
            assert_never(normalizer)
