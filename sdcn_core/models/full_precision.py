"""What must be float32 inside a network that computes in less."""

import torch
from torch import Tensor, nn


def in_float32(layer: nn.Module, x: Tensor) -> Tensor:
    """The layer's output computed in float32 under autocast, too; without autocast in whatever dtype x has.

    For the layers that end in scores: with 2,000 proposals first scores are 2.5e-5 and differ in their third digit,
    which bfloat16 does not have, so that the best proposal of a class would be chosen among ties.
    """
    device = x.device.type
    if device == "meta" or not torch.is_autocast_enabled(device):
        return layer(x)
    with torch.autocast(device, enabled=False):
        return layer(x.float())
