"""What divides a sum over weighted proposals. N proposals."""

from typing import Literal, assert_never

import torch
from torch import Tensor

_NO_WEIGHT = 1e-12  # OICR's threshold, below which a proposal does not count


def weight_divisor(weights: Tensor, normalizer: Literal["valid_count", "weight_sum"]) -> Tensor:
    """() > 0: the number of proposals that have a weight, or the sum of weights (N,).

    Without any weight a number by which zero can be divided.
    """
    match normalizer:
        case "valid_count":
            return (weights > _NO_WEIGHT).sum().clamp(min=1)
        case "weight_sum":
            return weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
        case _:
            assert_never(normalizer)
