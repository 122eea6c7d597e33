"""What box regression learns: how a proposal must move and grow to become a box (Girshick 2015; R-CNN, appendix C).

A delta is (dx, dy, dw, dh): the centre's shift in widths and heights of the proposal, and the logarithms of the growth.
It is the same at every scale of the image. N boxes, always xyxy px, half-open.
"""

import math

import torch
from torch import Tensor

MAX_GROWTH = 1000 / 16
"""a side grows at most so much, whatever a network says, so that no box overflows; from 16 px to the side of an
image, as in Detectron"""


DELTA_UNITS = (0.1, 0.1, 0.2, 0.2)
"""in which a network speaks of deltas where nobody measured how large they are, so that what it says is about as large
as 1; Faster R-CNN's, by the code of Detectron"""


def encode_boxes(boxes: Tensor, targets: Tensor) -> Tensor:
    """Deltas (N, 4) that turn boxes (N, 4) into targets (N, 4), all of positive area.

    >>> encode_boxes(torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.tensor([[5.0, 0.0, 15.0, 10.0]])).tolist()
    [[0.5, 0.0, 0.0, 0.0]]
    """
    centres, sizes = _centres_and_sizes(boxes)
    target_centres, target_sizes = _centres_and_sizes(targets)
    return torch.cat([(target_centres - centres) / sizes, (target_sizes / sizes).log()], dim=-1)


def decode_boxes(boxes: Tensor, deltas: Tensor) -> Tensor:
    """Where deltas take boxes: the inverse of `encode_boxes`, but for MAX_GROWTH. Not cut at the image's edges.

    Args:
        boxes: (N, 4).
        deltas: (N, 4), or (N, C, 4) with one of each class.

    Returns:
        As `deltas`.
    """
    if deltas.ndim == 3:
        boxes = boxes[:, None]  # (N, 1, 4)
    centres, sizes = _centres_and_sizes(boxes)
    moved = centres + deltas[..., :2] * sizes
    half = sizes * deltas[..., 2:].clamp(max=math.log(MAX_GROWTH)).exp() / 2
    return torch.cat([moved - half, moved + half], dim=-1)


def flip_deltas(deltas: Tensor) -> Tensor:
    """What deltas (..., 4) of the mirror image are in the image itself, and the other way round."""
    return deltas * deltas.new_tensor([-1.0, 1.0, 1.0, 1.0])


def _centres_and_sizes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """(..., 2) each, x before y."""
    sizes = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + sizes / 2, sizes
