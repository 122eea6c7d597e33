"""What the heads of f^D see of a proposal: pooled bins through two hidden layers, VGG's fc6 and fc7."""

import logging
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.config.model import BackboneConfig, DetectionConfig, Vgg16Backbone
from sdcn_core.models.initialization import init_he
from sdcn_core.models.roi_pool import roi_pool
from sdcn_core.models.vgg16 import HIDDEN_LAYERS, load_hidden_layers

log = logging.getLogger(__name__)


class RoiFeatures(nn.Module):
    """Map and proposals -> (R, hidden). Dropout follows both layers, as in OICR's Caffe network.

    Args:
        in_channels: of the map.
        stride: pixels a cell of the map.
        config: grid, width and dropout.
    """

    def __init__(self, in_channels: int, stride: int, config: DetectionConfig) -> None:
        super().__init__()
        self.stride = stride
        self.grid = config.roi_grid
        self.fc6 = nn.Linear(in_channels * config.roi_grid**2, config.hidden)
        self.fc7 = nn.Linear(config.hidden, config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        init_he(self)

    def forward(self, x: Tensor, proposals: Tensor, batch_index: Tensor) -> Tensor:
        """(R, hidden), >= 0.

        Args:
            x: (B, D, h, w).
            proposals: (R, 4) xyxy px, half-open, of all images.
            batch_index: (R,) int64, whose image each is.
        """
        pooled = roi_pool(x, proposals, batch_index, stride=self.stride, grid=self.grid)  # (R, D, g, g)
        hidden = self.dropout(F.relu(self.fc6(pooled.flatten(1)), inplace=True))
        return self.dropout(F.relu(self.fc7(hidden), inplace=True))


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
