"""What the heads of f^D see of a proposal: pooled bins through two hidden layers, VGG's fc6 and fc7."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.config.model import BackboneConfig, DetectionConfig, Vgg16Backbone
from sdcn_core.models.initialization import init_he
from sdcn_core.models.recomputation import recomputed
from sdcn_core.models.roi_pool import roi_pool
from sdcn_core.models.vgg16 import HIDDEN_LAYERS, load_hidden_layers

log = logging.getLogger(__name__)


class RoiFeatures(nn.Module):
    """Map and proposals -> (R, hidden). Dropout follows both layers, as in OICR's Caffe network.

    Args:
        in_channels: of the map.
        stride: pixels a cell of the map.
        config: grid, width, dropout, and how many proposals are seen together in training.
    """

    def __init__(self, in_channels: int, stride: int, config: DetectionConfig) -> None:
        super().__init__()
        self.stride = stride
        self.grid = config.roi_grid
        self.fc6 = nn.Linear(in_channels * config.roi_grid**2, config.hidden)
        self.fc7 = nn.Linear(config.hidden, config.hidden)
        self.dropout = config.dropout
        self.chunk = config.proposal_chunk
        init_he(self)

    def forward(self, x: Tensor, proposals: Tensor, batch_index: Tensor) -> Tensor:
        """(R, hidden), >= 0.

        Args:
            x: (B, D, h, w).
            proposals: (R, 4) xyxy px, half-open, of all images.
            batch_index: (R,) int64, whose image each is.
        """
        inputs = (proposals, batch_index, *self._drawn_units(proposals))
        if self.chunk is None or not self.training:
            return self._hidden(x, *inputs)
        chunks = zip(*(values.split(self.chunk) for values in inputs), strict=True)
        return torch.cat([recomputed(self._hidden, x, *chunk) for chunk in chunks])

    def _drawn_units(self, proposals: Tensor) -> tuple[Tensor, ...]:
        """Which units dropout leaves, (R, hidden) bool after either layer; nothing where it leaves all.

        Drawn before any chunk: with chunks of any size, and again in the backward, the same units are left.
        """
        if not self.training or self.dropout == 0:
            return ()
        drawn = [
            torch.empty(len(proposals), layer.out_features, dtype=torch.bool, device=proposals.device)
            for layer in (self.fc6, self.fc7)
        ]
        return tuple(units.bernoulli_(1 - self.dropout) for units in drawn)

    def _hidden(self, x: Tensor, proposals: Tensor, batch_index: Tensor, *left: Tensor) -> Tensor:
        pooled = roi_pool(x, proposals, batch_index, stride=self.stride, grid=self.grid)  # (R, D, g, g)
        hidden = self._dropped(F.relu(self.fc6(pooled.flatten(1)), inplace=True), left[:1])
        return self._dropped(F.relu(self.fc7(hidden), inplace=True), left[1:])

    def _dropped(self, hidden: Tensor, left: Sequence[Tensor]) -> Tensor:
        for units in left:
            hidden = hidden * units.to(hidden.dtype).div_(1 - self.dropout)
        return hidden


def load_pretrained_layers(features: RoiFeatures, backbone: BackboneConfig, weights_root: Path | None) -> None:
    """Give the hidden layers VGG16's own weights, where the backbone is a pretrained VGG16 and they have its shapes.

    Raises:
        WeightsError: the weights cannot be had.
    """
    if not isinstance(backbone, Vgg16Backbone) or backbone.weights is None:
        return
    shapes = (tuple(features.fc6.weight.shape), tuple(features.fc7.weight.shape))
    if shapes == HIDDEN_LAYERS:
        load_hidden_layers(features.fc6, features.fc7, backbone.weights, weights_root)
    else:
        log.warning(
            "hidden layers of shapes %s start from random weights: pretrained ones are %s", shapes, HIDDEN_LAYERS
        )
