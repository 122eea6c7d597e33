"""RoI max pooling as an operator of torch, `sdcn::roi_max_pool`, so that an exported program can name it.

Importing this module registers it; a loaded `model.pt2` needs nothing else of this package.
"""

import torch
from torch import Tensor

from sdcn_core.models.roi_pool import roi_pool


@torch.library.custom_op("sdcn::roi_max_pool", mutates_args=())
def roi_max_pool(features: Tensor, boxes: Tensor, stride: int, grid: int) -> Tensor:
    """`roi_pool` on one image: (N, D, grid, grid) of features (1, D, h, w) and boxes (N, 4) xyxy px, half-open.

    It has no gradient: exported programs detect, they do not learn.
    """
    owners = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    return roi_pool(features, boxes, owners, stride=stride, grid=grid)


@roi_max_pool.register_fake
def _(features: Tensor, boxes: Tensor, stride: int, grid: int) -> Tensor:
    return features.new_empty(boxes.shape[0], features.shape[1], grid, grid)
