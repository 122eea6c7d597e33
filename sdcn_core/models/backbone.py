"""f^E: the extractor that both branches share, x = f^E(I)."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import assert_never

from torch import Tensor, nn

from sdcn_core.config.model import (
    BackboneConfig,
    MobileNetBackbone,
    SmallVggBackbone,
    SqueezeNetBackbone,
    Vgg16Backbone,
)
from sdcn_core.models.batch_norm import freeze_norms


class Backbone(nn.Module, ABC):
    """An extractor of feature maps. Layers that the configuration freezes have no gradient from the start."""

    channels: tuple[int, ...]
    """D of each map, fine -> coarse; the last is x"""
    strides: tuple[int, ...]
    """pixels a cell of each map; a map has ceil(H / stride) rows and ceil(W / stride) columns"""

    @property
    def stride(self) -> int:
        """Pixels a cell of x."""
        return self.strides[-1]

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Feature maps (B, channels[i], h_i, w_i), fine -> coarse, of images (B, 3, H, W) RGB in [0, 255]."""

    def freeze_norm(self) -> None:
        """Batch norms use their running statistics from now on, for good, and learn nothing."""
        freeze_norms(self)


def build_backbone(config: BackboneConfig, *, weights_root: Path | None) -> Backbone:
    """The extractor of a configuration, with its pretrained weights where it names some.

    Raises:
        WeightsError: the weights cannot be had.
    """
    # Here, because each of them derives from Backbone.
    from sdcn_core.models.mobilenet import MobileNet
    from sdcn_core.models.small_vgg import SmallVgg
    from sdcn_core.models.squeezenet import SqueezeNet
    from sdcn_core.models.vgg16 import Vgg16

    match config:
        case Vgg16Backbone():
            return Vgg16(config, weights_root=weights_root)
        case SmallVggBackbone():
            return SmallVgg(config.widths)
        case SqueezeNetBackbone():
            return SqueezeNet(config, weights_root=weights_root)
        case MobileNetBackbone():
            return MobileNet(config, weights_root=weights_root)
        case _:
            assert_never(config)
