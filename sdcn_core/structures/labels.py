"""Class indices. C classes; background is index C, the last."""

from typing import Final

import torch
from torch import Tensor

IGNORED: Final = -100
"""The label of a pixel that says nothing: no class index, and the one PyTorch's cross entropy skips."""


def present_classes(image_labels: Tensor) -> Tensor:
    """The classes an image shows: its positive ones in ascending order, then background, which every image shows.

    The rows of everything that is computed for one mask a class come in this order.

    Args:
        image_labels: (C,) 1 where the class is present, 0 elsewhere.

    Returns:
        (P,) int64, P >= 1.

    >>> present_classes(torch.tensor([0.0, 1.0, 0.0, 1.0])).tolist()
    [1, 3, 4]
    """
    positive = image_labels.nonzero().flatten()
    return torch.cat([positive, positive.new_tensor([len(image_labels)])])
