"""Residual classifiers, cut where the mask enters: ResNet-101 after layer3 (section 4.1), a narrow one for a CPU."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.config.model import Convention, WeightsFile
from sdcn_core.models.batch_norm import ConvNorm, freeze_norms
from sdcn_core.models.full_precision import in_float32
from sdcn_core.models.initialization import init_he, init_head
from sdcn_core.models.pixel_norm import pixels_of, plain_pixels
from sdcn_core.models.pretrained import first_layer_to_rgb, load_tensors, read_weights, recognized_keys
from sdcn_core.models.recomputation import recomputed

LAYERS = ((64, 3), (128, 4), (256, 23), (512, 3))
"""ResNet-101's layer1 ... layer4: width of the 3x3 convolutions, number of blocks"""
EXPANSION = 4
QUIET_GAMMA = 0.2
"""scale of a random residual branch: under frozen norms, 33 branches at 1 would double the variance 33 times"""
SEGMENT_BLOCKS = 3
"""blocks whose inner maps are computed again together; of maps between segments one is kept"""


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 to EXPANSION * width; projected shortcut where needed.

    Args:
        strides: of the first and the second convolution.
    """

    def __init__(self, in_channels: int, width: int, *, strides: tuple[int, int]) -> None:
        super().__init__()
        out, stride = width * EXPANSION, max(strides)
        self.unit1 = ConvNorm(in_channels, width, 1, stride=strides[0])
        self.unit2 = ConvNorm(width, width, 3, stride=strides[1])
        self.unit3 = ConvNorm(width, out, 1)
        self.shortcut = ConvNorm(in_channels, out, 1, stride=stride) if in_channels != out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        branch = F.relu(self.unit1(x), inplace=True)
        branch = F.relu(self.unit2(branch), inplace=True)
        return F.relu(self.unit3(branch) + self.shortcut(x), inplace=True)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, projected where shapes change."""

    def __init__(self, in_channels: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.unit1 = ConvNorm(in_channels, width, 3, stride=stride)
        self.unit2 = ConvNorm(width, width, 3)
        same = stride == 1 and in_channels == width
        self.shortcut = nn.Identity() if same else ConvNorm(in_channels, width, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        branch = F.relu(self.unit1(x), inplace=True)
        return F.relu(self.unit2(branch) + self.shortcut(x), inplace=True)


class ResNet101Trunk(nn.Module):
    """Images (B, 3, H, W) -> layer3's output, (B, 1024, h, w) at stride 16.

    In Caffe's network the first pool pads nothing and counts the cut-off window at the end.

    Args:
        convention: whose network.
        recompute_blocks: whether inner maps are computed again in the backward instead of kept.
    """

    def __init__(self, convention: Convention, *, recompute_blocks: bool) -> None:
        super().__init__()
        self.recompute_blocks = recompute_blocks
        self.is_caffes = convention != "torchvision"
        self.pixels = pixels_of(convention)
        self.stem = ConvNorm(3, 64, 7, stride=2)
        self.layer1 = _layer(64, *LAYERS[0], stride=1, is_caffes=self.is_caffes)
        self.layer2 = _layer(256, *LAYERS[1], stride=2, is_caffes=self.is_caffes)
        self.layer3 = _layer(512, *LAYERS[2], stride=2, is_caffes=self.is_caffes)

    def forward(self, images: Tensor) -> Tensor:
        x = self.pixels(images)
        parts: list[Callable[[Tensor], Tensor]] = [self._entry, *self._segments()]
        for part in parts:
            x = recomputed(part, x) if self.recompute_blocks else part(x)
        return x

    def _entry(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x), inplace=True)
        return F.max_pool2d(x, 3, stride=2, padding=0 if self.is_caffes else 1, ceil_mode=self.is_caffes)

    def _segments(self) -> Iterator[nn.Module]:
        for layer in (self.layer1, self.layer2, self.layer3):
            yield from (layer[i : i + SEGMENT_BLOCKS] for i in range(0, len(layer), SEGMENT_BLOCKS))


class ResNet101Tail(nn.Module):
    """Masked map (M, 1024, h, w) -> logits (M, C): layer4, global average, linear."""

    def __init__(self, num_classes: int, convention: Convention) -> None:
        super().__init__()
        self.layer4 = _layer(1024, *LAYERS[3], stride=2, is_caffes=convention != "torchvision")
        self.classify = init_head(nn.Linear(2048, num_classes))

    def forward(self, masked: Tensor) -> Tensor:
        return in_float32(self.classify, self.layer4(masked).mean(dim=(2, 3)))


def resnet101_classifier(
    num_classes: int,
    weights: WeightsFile | None,
    weights_root: Path | None,
    *,
    convention: Convention,
    recompute_blocks: bool = False,
) -> tuple[nn.Module, nn.Module]:
    """Trunk and tail with the weights of a file with torchvision's names, if any.

    Batch norms are frozen from the start: masked maps, one or two images a step, would spoil their statistics.

    Raises:
        WeightsError: the weights cannot be had.
    """
    trunk = ResNet101Trunk(convention, recompute_blocks=recompute_blocks)
    tail = ResNet101Tail(num_classes, convention)
    layers = nn.ModuleDict({**dict(trunk.named_children()), "layer4": tail.layer4})
    if weights is None:
        init_he(layers)
        for block in layers.modules():
            if isinstance(block, Bottleneck):
                nn.init.constant_(block.unit3.norm.weight, QUIET_GAMMA)
    else:
        tensors = read_weights(weights, weights_root)
        key_of = recognized_keys(tensors, layers.state_dict(), (_torchvision_key,))
        if convention != "torchvision":
            tensors = first_layer_to_rgb(tensors, key_of("stem.conv.weight"))
        load_tensors(layers, tensors, key_of=key_of, source=weights.path)
    freeze_norms(trunk)
    freeze_norms(tail)
    return trunk, tail


class SmallTrunk(nn.Module):
    """Images (B, 3, H, W) -> (B, widths[1], ceil(H / 8), ceil(W / 8))."""

    def __init__(self, widths: tuple[int, int]) -> None:
        super().__init__()
        self.pixels = plain_pixels()
        self.stem = ConvNorm(3, widths[0], 3, stride=2)
        self.block1 = BasicBlock(widths[0], widths[1], stride=2)
        self.block2 = BasicBlock(widths[1], widths[1], stride=2)
        init_he(self)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem(self.pixels(images)), inplace=True)
        return self.block2(self.block1(x))


class SmallTail(nn.Module):
    """Masked map (M, D, h, w) -> logits (M, C): three residual blocks, the later two at stride 16, and a linear layer.

    It reads the mean of the global average and the global maximum.
    """

    def __init__(self, in_channels: int, widths: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        self.block1 = BasicBlock(in_channels, widths[0], stride=1)
        self.block2 = BasicBlock(widths[0], widths[1], stride=2)
        self.block3 = BasicBlock(widths[1], widths[2], stride=1)
        init_he(self)
        self.classify = init_head(nn.Linear(widths[2], num_classes))

    def forward(self, masked: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(masked)))
        return in_float32(self.classify, (x.mean(dim=(2, 3)) + x.amax(dim=(2, 3))) / 2)


def small_classifier(num_classes: int, widths: tuple[int, int, int, int, int]) -> tuple[nn.Module, nn.Module]:
    """Trunk and tail of the narrow network; the mask enters after `widths[1]`."""
    return SmallTrunk(widths[:2]), SmallTail(widths[1], widths[2:], num_classes)


def _layer(in_channels: int, width: int, blocks: int, *, stride: int, is_caffes: bool) -> nn.Sequential:
    """Blocks of which the first strides, in its 1x1 convolution if `is_caffes`, in its 3x3 otherwise."""
    first = Bottleneck(in_channels, width, strides=(stride, 1) if is_caffes else (1, stride))
    return nn.Sequential(first, *(Bottleneck(width * EXPANSION, width, strides=(1, 1)) for _ in range(blocks - 1)))


def _torchvision_key(name: str) -> str:
    """`layer1.0.unit2.norm.weight` -> `layer1.0.bn2.weight`, and so on."""
    name = re.sub(r"^stem\.conv", "conv1", name)
    name = re.sub(r"^stem\.norm", "bn1", name)
    name = re.sub(r"unit(\d)\.conv", r"conv\1", name)
    name = re.sub(r"unit(\d)\.norm", r"bn\1", name)
    return name.replace("shortcut.conv", "downsample.0").replace("shortcut.norm", "downsample.1")
