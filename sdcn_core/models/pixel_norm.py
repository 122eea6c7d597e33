"""From pixels as read to numbers a network can digest."""

from typing import assert_never

import torch
from torch import Tensor, nn

from sdcn_core.config.model import Convention


class PixelNorm(nn.Module):
    """(images - mean) / deviation per channel: (B, 3, H, W) RGB in [0, 255] -> (B, 3, H, W) around 0.

    Args:
        mean: of R, G, B, in [0, 255].
        deviation: of R, G, B, on the same scale.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, mean: tuple[float, float, float], deviation: tuple[float, float, float]) -> None:
        super().__init__()
        # Constants of the architecture, not of a training: kept out of checkpoints.
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None], persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        # Every later map inherits the layout (see channels_last.py).
        return ((images - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)


def torchvision_pixels() -> PixelNorm:
    """The convention of torchvision's ImageNet weights: RGB, mean and standard deviation over ImageNet."""
    return PixelNorm(mean=(0.485 * 255, 0.456 * 255, 0.406 * 255), deviation=(0.229 * 255, 0.224 * 255, 0.225 * 255))


def caffe_pixels() -> PixelNorm:
    """The convention of Caffe's ImageNet weights: mean only. Their BGR is left to `pretrained.first_layer_to_rgb`."""
    return PixelNorm(mean=(123.68, 116.779, 103.939), deviation=(1.0, 1.0, 1.0))


def fast_rcnn_pixels() -> PixelNorm:
    """As `caffe_pixels`, with the means that Fast R-CNN and OICR take off."""
    return PixelNorm(mean=(122.7717, 115.9465, 102.9801), deviation=(1.0, 1.0, 1.0))


def pixels_of(convention: Convention) -> PixelNorm:
    """What weights of a convention want to see, but for BGR: see `pretrained.first_layer_to_rgb`."""
    match convention:
        case "torchvision":
            return torchvision_pixels()
        case "caffe":
            return caffe_pixels()
        case "fast_rcnn":
            return fast_rcnn_pixels()
        case _:
            assert_never(convention)


def tensorflow_pixels() -> PixelNorm:
    """The convention of TF-Slim's ImageNet weights: RGB in [-1, 1]."""
    return PixelNorm(mean=(127.5, 127.5, 127.5), deviation=(127.5, 127.5, 127.5))


def plain_pixels() -> PixelNorm:
    """For networks trained from scratch: about zero mean and unit spread on any photographs."""
    return PixelNorm(mean=(127.5, 127.5, 127.5), deviation=(64.0, 64.0, 64.0))
