"""A made-up image with proposals of all kinds, on which an exported file must score as the model does."""

import torch
from torch import Tensor

HEIGHT_PX, WIDTH_PX = 83, 117
"""no multiples of a stride"""


def probe_input(*, proposals: int = 24, seed: int = 0) -> tuple[Tensor, Tensor]:
    """An image (1, 3, H, W) of noise in [0, 255], and `proposals` boxes (N, 4) xyxy px.

    Among the boxes, as many as fit: the whole image, its edges as thin strips, a single pixel, fractions of pixels.
    """
    draw = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (1, 3, HEIGHT_PX, WIDTH_PX), generator=draw).float()
    named = torch.tensor(
        [
            [0.0, 0.0, WIDTH_PX, HEIGHT_PX],
            [0.0, 0.0, WIDTH_PX, 1.0],
            [WIDTH_PX - 1.0, 0.0, WIDTH_PX, HEIGHT_PX],
            [0.0, HEIGHT_PX - 1.0, WIDTH_PX, HEIGHT_PX],
            [40.0, 36.0, 41.0, 37.0],
            [3.5, 11.25, 60.75, 61.5],
        ]
    )
    corners = torch.rand(proposals, 2, 2, generator=draw) * torch.tensor([WIDTH_PX - 1.0, HEIGHT_PX - 1.0])
    drawn = torch.cat([corners.amin(dim=1), corners.amax(dim=1) + 1], dim=1)
    return image, torch.cat([named, drawn])[:proposals]
