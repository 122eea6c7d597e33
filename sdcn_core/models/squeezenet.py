"""SqueezeNet 1.1 (Iandola et al. 2016) with ImageNet weights: small enough to train on photographs with a CPU.

Caffe's network pads nothing, which puts cell i of the stride-8 map over pixel 8 i + 7. Here the first convolution and
the pools pad by one: same filters, but cell i lies over pixel 8 i, where RoI pooling looks for it, and maps have
ceil(H / 8) rows as everywhere.
"""

import logging
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.config.model import SqueezeNetBackbone, WeightsFile
from sdcn_core.models.backbone import Backbone
from sdcn_core.models.full_precision import in_float32
from sdcn_core.models.initialization import init_head
from sdcn_core.models.pixel_norm import caffe_pixels
from sdcn_core.models.pretrained import fill_parts, npz_key

log = logging.getLogger(__name__)

X_SCALE = 2.0**-5
"""On photographs RoI-pooled fire9 has a root mean square of 30: random hidden layers would make first scores of near
certainty of it, and OICR would keep the boxes that it happened to prefer. A power of two rounds nothing."""


class Fire(nn.Module):
    """1x1 squeeze, then 1x1 and 3x3 side by side: (B, in, h, w) -> (B, 2 * expand, h, w)."""

    def __init__(self, in_channels: int, squeeze: int, expand: int, *, dilation: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=dilation, dilation=dilation)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x), inplace=True)
        return F.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], dim=1), inplace=True)


class EarlyFires(nn.Module):
    """conv1 to fire5, stride 8: the maps of conv1 (64 channels, stride 2), fire3 (128, 4) and fire5 (256, 8).

    Args:
        padding: of conv1 and the pools; 0 is Caffe's network, 1 ours.
    """

    def __init__(self, *, padding: int) -> None:
        super().__init__()
        self.padding = padding
        self.pixels = caffe_pixels()
        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=padding)
        self.fire2 = Fire(64, 16, 64, dilation=1)
        self.fire3 = Fire(128, 16, 64, dilation=1)
        self.fire4 = Fire(128, 32, 128, dilation=1)
        self.fire5 = Fire(256, 32, 128, dilation=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        conv1 = F.relu(self.conv1(self.pixels(images)), inplace=True)
        fire3 = self.fire3(self.fire2(_pool(conv1, stride=2, padding=self.padding)))
        return conv1, fire3, self.fire5(self.fire4(_pool(fire3, stride=2, padding=self.padding)))


class LateFires(nn.Module):
    """pool3 and fire6 to fire9: (B, 256, h, w) at stride 8 -> (B, 512, h', w') at stride 8 * `stride`.

    Args:
        stride: of pool3: 2 is Caffe's network; at 1 the fires are dilated by 2, so that each filter sees what it saw.
        padding: of pool3.
    """

    def __init__(self, *, stride: int, padding: int) -> None:
        super().__init__()
        self.stride = stride
        self.padding = padding
        dilation = 2 // stride
        self.fire6 = Fire(256, 48, 192, dilation=dilation)
        self.fire7 = Fire(384, 48, 192, dilation=dilation)
        self.fire8 = Fire(384, 64, 256, dilation=dilation)
        self.fire9 = Fire(512, 64, 256, dilation=dilation)

    def forward(self, fire5: Tensor) -> Tensor:
        x = _pool(fire5, stride=self.stride, padding=self.padding)
        return self.fire9(self.fire8(self.fire7(self.fire6(x))))


class SqueezeNet(Backbone):
    """x = X_SCALE times fire9, 512 channels at stride 8; finer maps fire5 (8), fire3 (4), conv1 (2)."""

    channels = (64, 128, 256, 512)
    strides = (2, 4, 8, 8)

    def __init__(self, config: SqueezeNetBackbone, *, weights_root: Path | None) -> None:
        super().__init__()
        self.early = EarlyFires(padding=1)
        self.late = LateFires(stride=1, padding=1)
        load_fires((self.early, self.late), config.weights, weights_root)
        if config.weights is None and config.frozen != "none":
            log.warning(
                "squeezenet1_1 starts from random weights and freezes them up to %s: name weights, or freeze none",
                config.frozen,
            )
        frozen_modules = 0 if config.frozen == "none" else int(config.frozen.removeprefix("fire"))
        for part in (self.early, self.late):
            for name, child in part.named_children():
                number = int(name.removeprefix("fire")) if name.startswith("fire") else 1
                child.requires_grad_(number > frozen_modules)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        conv1, fire3, fire5 = self.early(images)
        return conv1, fire3, fire5, X_SCALE * self.late(fire5)


class SqueezeNetTrunk(nn.Module):
    """Images -> the map that is masked: fire5, frozen."""

    def __init__(self, early: EarlyFires) -> None:
        super().__init__()
        self.early = early.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.early(images)[-1]


class SqueezeNetTail(nn.Module):
    """Masked map -> (M, C) logits: fire6 to fire9, global average, linear."""

    def __init__(self, late: LateFires, num_classes: int) -> None:
        super().__init__()
        self.late = late
        self.classify = init_head(nn.Linear(512, num_classes))

    def forward(self, masked: Tensor) -> Tensor:
        # SqueezeNet's last 1x1 convolution comes before the mean; they commute, and this is cheaper.
        return in_float32(self.classify, self.late(masked).mean(dim=(2, 3)))


def squeezenet_classifier(
    num_classes: int, weights: WeightsFile | None, weights_root: Path | None
) -> tuple[nn.Module, nn.Module]:
    """Trunk and tail of f^C, undilated.

    Raises:
        WeightsError: the weights cannot be had.
    """
    early, late = EarlyFires(padding=1), LateFires(stride=2, padding=1)
    load_fires((early, late), weights, weights_root)
    if weights is None:
        log.warning("squeezenet1_1 as classifier freezes random weights up to fire5: name weights")
    return SqueezeNetTrunk(early), SqueezeNetTail(late, num_classes)


def load_fires(parts: tuple[EarlyFires, LateFires], weights: WeightsFile | None, weights_root: Path | None) -> None:
    """Fill both parts from a file of BGR weights, the authors' own or an .npz, or at random.

    Raises:
        WeightsError: the weights cannot be had.
    """
    fill_parts(parts, weights, weights_root, layouts=(npz_key, _caffe_key), bgr_layer="conv1.weight")


def _caffe_key(name: str) -> str:
    """`fire2.squeeze.weight` -> `fire2/squeeze1x1.weight`, `conv1.bias` -> `conv1.bias`."""
    *layer, kind = name.split(".")
    return f"{'/'.join(layer).replace('squeeze', 'squeeze1x1')}.{kind}"


def _pool(x: Tensor, *, stride: int, padding: int) -> Tensor:
    # Without padding Caffe counts the cut-off window at the end too.
    return F.max_pool2d(x, 3, stride=stride, padding=padding, ceil_mode=padding == 0)
