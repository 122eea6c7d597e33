"""VGG16-D8 (appendix A; OICR's network): no pool4, conv5 dilated by 2, so that x keeps stride 8."""

import logging
from functools import partial
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.config.model import Vgg16Backbone, WeightsFile
from sdcn_core.models.backbone import Backbone
from sdcn_core.models.initialization import init_he
from sdcn_core.models.pixel_norm import pixels_of
from sdcn_core.models.pretrained import first_layer_to_rgb, load_tensors, read_weights, recognized_keys
from sdcn_core.models.recomputation import recomputed

log = logging.getLogger(__name__)

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""widths of conv1_1 ... conv5_3"""
POOLED_BLOCKS = 3
"""pool1 to pool3 halve the map; pool4, but for a stride of 16, and pool5 are left out"""
HIDDEN_LAYERS = ((4096, 512 * 7 * 7), (4096, 4096))
"""shapes of the weights of fc6 and fc7"""
TORCHVISION_LAYERS = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""place of conv1_1 ... conv5_3 in torchvision's `features`"""
TORCHVISION_HIDDEN = {"fc6": 0, "fc7": 3}
"""place in torchvision's `classifier`; ReLU and dropout lie between"""


class Vgg16(Backbone):
    """x = conv5_3 after its ReLU, 512 channels at stride 8; finer maps conv4_3 (8), conv3_3 (4), conv2_2 (2).

    With a stride of 16 it is VGG16 up to conv5_3 as published. Weights are a file of the whole VGG16 with torchvision's
    names (`features.0.weight`) or Caffe's (`conv1_1.weight`); its classifier is left to `load_hidden_layers`.
    """

    channels = (128, 256, 512, 512)

    def __init__(self, config: Vgg16Backbone, *, weights_root: Path | None) -> None:
        super().__init__()
        self.strides = (2, 4, 8, config.stride)
        self.pooled_blocks = POOLED_BLOCKS + (config.stride == 16)
        self.recompute_blocks = config.recompute_blocks
        self.pixels = pixels_of(config.convention)
        width = 3
        for block, widths in enumerate(BLOCKS, start=1):
            dilation = 2 if block == len(BLOCKS) and config.stride == 8 else 1
            for layer, out in enumerate(widths, start=1):
                conv = nn.Conv2d(width, out, 3, padding=dilation, dilation=dilation)
                self.add_module(f"conv{block}_{layer}", conv)
                width = out
        if config.weights is None:
            init_he(self)
            if config.frozen != "none":
                log.warning(
                    "vgg16_d8 starts from random weights and freezes them up to %s: name weights, or freeze none",
                    config.frozen,
                )
        else:
            self._load(config.weights, weights_root, is_bgr=config.convention != "torchvision")
        frozen_blocks = 0 if config.frozen == "none" else int(config.frozen.removeprefix("conv"))
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(int(name[len("conv")]) > frozen_blocks)

    def _load(self, weights: WeightsFile, weights_root: Path | None, *, is_bgr: bool) -> None:
        tensors = read_weights(weights, weights_root)
        key_of = recognized_keys(tensors, self.state_dict(), (_torchvision_key, str))
        if is_bgr:
            tensors = first_layer_to_rgb(tensors, key_of("conv1_1.weight"))
        load_tensors(self, tensors, key_of=key_of, source=weights.path)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = self.pixels(images)
        maps = []
        for block in range(1, len(BLOCKS) + 1):
            convolve = partial(self._convolve, block)
            x = recomputed(convolve, x) if self.recompute_blocks else convolve(x)
            maps.append(x)
            if block <= self.pooled_blocks:
                x = F.max_pool2d(x, 2, ceil_mode=True)  # Caffe rounds up; so do the strides promised above
        return tuple(maps[1:])

    def _convolve(self, block: int, x: Tensor) -> Tensor:
        for layer in range(1, len(BLOCKS[block - 1]) + 1):
            x = F.relu(self.get_submodule(f"conv{block}_{layer}")(x), inplace=True)
        return x


def load_hidden_layers(fc6: nn.Linear, fc7: nn.Linear, weights: WeightsFile, weights_root: Path | None) -> None:
    """Fill the detection branch's two hidden layers, of shapes HIDDEN_LAYERS, with VGG16's own.

    Raises:
        WeightsError: the weights cannot be had.
    """
    layers = nn.ModuleDict({"fc6": fc6, "fc7": fc7})
    tensors = read_weights(weights, weights_root)
    key_of = recognized_keys(tensors, layers.state_dict(), (_torchvision_key, str))
    load_tensors(layers, tensors, key_of=key_of, source=weights.path)


def _torchvision_key(name: str) -> str:
    """`conv1_2.weight` -> `features.2.weight`, `fc7.bias` -> `classifier.3.bias`."""
    layer, kind = name.split(".")
    if layer in TORCHVISION_HIDDEN:
        return f"classifier.{TORCHVISION_HIDDEN[layer]}.{kind}"
    names = [f"conv{block}_{layer}" for block, widths in enumerate(BLOCKS, 1) for layer in range(1, len(widths) + 1)]
    return f"features.{TORCHVISION_LAYERS[names.index(layer)]}.{kind}"
