"""A narrow VGG for images of about 96 px on a CPU: the same plan as VGG16-D8, learnt from scratch."""

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.models.backbone import Backbone
from sdcn_core.models.batch_norm import ConvNorm
from sdcn_core.models.initialization import init_he
from sdcn_core.models.pixel_norm import plain_pixels

CONVS = (1, 2, 2, 2)
"""convolutions a block; a second one at full resolution would cost as much as all the others together"""


class SmallVgg(Backbone):
    """Four blocks of 3x3 convolutions, the last at stride 8; their outputs are the maps, at strides 1, 2, 4, 8.

    Args:
        widths: channels of the blocks.
    """

    strides = (1, 2, 4, 8)

    def __init__(self, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.channels = widths
        self.pixels = plain_pixels()
        self.blocks = nn.ModuleList()
        width = 3
        for out, convs in zip(widths, CONVS, strict=True):
            self.blocks.append(nn.ModuleList(ConvNorm(out if i else width, out, 3) for i in range(convs)))
            width = out
        init_he(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = self.pixels(images)
        maps: list[Tensor] = []
        for block in self.blocks:
            if maps:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            for conv in cast(nn.ModuleList, block):
                x = F.relu(conv(x), inplace=True)
            maps.append(x)
        return tuple(maps)
