"""Less memory for more time: what lies inside a part of a network is computed again in the backward, not kept."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """function(*inputs); until the backward only the inputs are kept.

    Every backward through it computes it once more, under the autocast of the forward. So the function must draw no
    random numbers and change nothing, such as running statistics. Without gradients it is called as it is.
    """
    if not torch.is_grad_enabled():
        return function(*inputs)
    output: Tensor = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
    return output
