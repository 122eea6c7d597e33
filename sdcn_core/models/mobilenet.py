"""MobileNetV2 1.0 (Sandler et al. 2018) with ImageNet weights whose batch norm is folded in: for photographs on a CPU.

TensorFlow's network pads convolutions of stride 2 so that, on even sides, cell i of a map at stride s lies over pixel
s i + s - 1. Here they pad by one on all sides: same filters, but cell i lies over pixel s i, where RoI pooling looks
for it, on images of any size.
"""

import logging
from pathlib import Path
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.config.model import MobileNetBackbone, WeightsFile
from sdcn_core.models.backbone import Backbone
from sdcn_core.models.full_precision import in_float32
from sdcn_core.models.initialization import init_head
from sdcn_core.models.pixel_norm import tensorflow_pixels
from sdcn_core.models.pretrained import fill_parts, npz_key

log = logging.getLogger(__name__)


class BlockPlan(NamedTuple):
    out_channels: int
    expansion: int
    """width of the depthwise convolution over the width of the block's input"""
    stride: int


BLOCKS = (
    BlockPlan(16, 1, 1),
    *(BlockPlan(24, 6, stride) for stride in (2, 1)),
    *(BlockPlan(32, 6, stride) for stride in (2, 1, 1)),
    *(BlockPlan(64, 6, stride) for stride in (2, 1, 1, 1)),
    *(BlockPlan(96, 6, 1) for _ in range(3)),
    *(BlockPlan(160, 6, stride) for stride in (2, 1, 1)),
    BlockPlan(320, 6, 1),
)
"""blocks 1 ... 17, as published"""
STEM = 32
HEAD = 1280
EARLY_BLOCKS = 6
"""the last block of the stride at which f^C is masked, 8"""


class InvertedResidual(nn.Module):
    """1x1 to many channels, 3x3 on each by itself, 1x1 to few, the last without ReLU; a shortcut where shapes stay.

    Args:
        shortcut: whether the input is added.
    """

    def __init__(self, in_channels: int, plan: BlockPlan, *, stride: int, dilation: int, shortcut: bool) -> None:
        super().__init__()
        width = in_channels * plan.expansion
        if plan.expansion > 1:
            self.expand = nn.Conv2d(in_channels, width, 1)
        self.dw = nn.Conv2d(width, width, 3, stride=stride, padding=dilation, dilation=dilation, groups=width)
        self.project = nn.Conv2d(width, plan.out_channels, 1)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        branch = _relu6(self.expand(x)) if hasattr(self, "expand") else x
        branch = self.project(_relu6(self.dw(branch)))
        return branch + x if self.shortcut else branch


class EarlyBlocks(nn.Module):
    """The stem and blocks 1 to 6, stride 8: the maps of block 3 (24 channels, stride 4) and block 6 (32, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = tensorflow_pixels()
        self.stem = nn.Conv2d(3, STEM, 3, stride=2, padding=1)
        _add_blocks(self, 1, EARLY_BLOCKS, stride=2, max_stride=8)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = _relu6(self.stem(self.pixels(images)))
        block3 = _run_blocks(self, x, 1, 3)
        return block3, _run_blocks(self, block3, 4, EARLY_BLOCKS)


class LateBlocks(nn.Module):
    """Blocks 7 to 17 and the head, from block 6's map: the maps of block 13 (96 channels) and the last one.

    Args:
        max_stride: of any map. Convolutions that would stride further do not, and those behind are dilated, so that
            each filter sees what it saw: every second cell, or fourth, is a cell of the network at stride 32.
        head: whether the last map is the head's, 1280 channels, or block 17's, 320.
    """

    def __init__(self, *, max_stride: int, head: bool) -> None:
        super().__init__()
        _add_blocks(self, EARLY_BLOCKS + 1, len(BLOCKS), stride=8, max_stride=max_stride)
        if head:
            self.head = nn.Conv2d(BLOCKS[-1].out_channels, HEAD, 1)

    def forward(self, block6: Tensor) -> tuple[Tensor, Tensor]:
        block13 = _run_blocks(self, block6, EARLY_BLOCKS + 1, 13)
        block17 = _run_blocks(self, block13, 14, 17)
        return block13, _relu6(self.head(block17)) if hasattr(self, "head") else block17


class MobileNet(Backbone):
    """x = the head after its ReLU6, or block 17; finer maps block 13 (at x's stride), block 6 (8), block 3 (4)."""

    def __init__(self, config: MobileNetBackbone, *, weights_root: Path | None) -> None:
        super().__init__()
        has_head = config.features == "head"
        self.channels = (24, 32, 96, HEAD if has_head else BLOCKS[-1].out_channels)
        self.strides = (4, 8, config.stride, config.stride)
        self.early = EarlyBlocks()
        self.late = LateBlocks(max_stride=config.stride, head=has_head)
        fill_parts((self.early, self.late), config.weights, weights_root, layouts=(npz_key,))
        if config.weights is None and config.frozen != "none":
            log.warning(
                "mobilenet_v2 starts from random weights and freezes them up to %s: name weights, or freeze none",
                config.frozen,
            )
        layers = [child for part in (self.early, self.late) for child in part.named_children()]
        match config.frozen:
            case "none":
                frozen_layers = 0
            case "all":
                frozen_layers = len(layers)
            case block:
                frozen_layers = [name for name, _ in layers].index(block) + 1
        for _, layer in layers[:frozen_layers]:
            layer.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        block3, block6 = self.early(images)
        return block3, block6, *self.late(block6)


class MobileNetTrunk(nn.Module):
    """Images -> the map that is masked: block 6, frozen.

    A cell of block 6 has seen 59 pixels a side, one of block 13, at stride 16, 267: a mask there would leave what it
    erases in the cells beside.
    """

    def __init__(self, early: EarlyBlocks) -> None:
        super().__init__()
        self.early = early.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.early(images)[-1]


class MobileNetTail(nn.Module):
    """Masked map -> (M, C) logits: blocks 7 to 17, the head, global average, linear."""

    def __init__(self, late: LateBlocks, num_classes: int) -> None:
        super().__init__()
        self.late = late
        self.classify = init_head(nn.Linear(HEAD, num_classes))

    def forward(self, masked: Tensor) -> Tensor:
        return in_float32(self.classify, self.late(masked)[-1].mean(dim=(2, 3)))


def mobilenet_classifier(
    num_classes: int, weights: WeightsFile | None, weights_root: Path | None
) -> tuple[nn.Module, nn.Module]:
    """Trunk and tail of f^C, undilated.

    Raises:
        WeightsError: the weights cannot be had.
    """
    early, late = EarlyBlocks(), LateBlocks(max_stride=32, head=True)
    fill_parts((early, late), weights, weights_root, layouts=(npz_key,))
    if weights is None:
        log.warning("mobilenet_v2 as classifier freezes random weights up to block 6: name weights")
    return MobileNetTrunk(early), MobileNetTail(late, num_classes)


def _add_blocks(parent: nn.Module, first: int, last: int, *, stride: int, max_stride: int) -> None:
    """Give `parent` children block<first> ... block<last>; the map before them has the stride given."""
    dilation = 1
    for number in range(first, last + 1):
        plan = BLOCKS[number - 1]
        in_channels = BLOCKS[number - 2].out_channels if number > 1 else STEM
        strides = plan.stride > 1 and stride < max_stride
        shortcut = plan.stride == 1 and plan.out_channels == in_channels
        block = InvertedResidual(
            in_channels, plan, stride=plan.stride if strides else 1, dilation=dilation, shortcut=shortcut
        )
        parent.add_module(f"block{number}", block)
        if strides:
            stride *= plan.stride
        else:
            dilation *= plan.stride


def _run_blocks(parent: nn.Module, x: Tensor, first: int, last: int) -> Tensor:
    for number in range(first, last + 1):
        x = parent.get_submodule(f"block{number}")(x)
    return x


def _relu6(x: Tensor) -> Tensor:
    # Not in place: the ONNX exporter takes four times as long to translate that.
    return F.relu6(x)
