"""In which precision a step computes: `schedule.precision`, for as long as it is asked for and no longer.

What a network hands out is float32 in any case (`models/full_precision.py`, RoI pooling), and so is all that the
objective makes of it: it is computed outside the forwards.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from sdcn_core.config.schedule import Precision


@contextmanager
def float32_products(*, tf32: bool) -> Iterator[None]:
    """Whether a GPU's TF32 units, with 10 bits of mantissa for float32's 23, may compute float32 products.

    Of matrices and in convolutions, forward and backward; as it was before, afterwards. Other devices have none.
    """
    matrices, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matrices.allow_tf32, convolutions.allow_tf32
    matrices.allow_tf32 = convolutions.allow_tf32 = tf32
    try:
        yield
    finally:
        matrices.allow_tf32, convolutions.allow_tf32 = before


def forward_precision(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Around the forward of a network, never around a loss: in bf16 convolutions and hidden layers take bfloat16.

    Weights, their gradients and the optimizer stay float32; bfloat16 has float32's range, so no loss is scaled.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
