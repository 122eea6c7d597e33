"""What the heads of f^D see of a proposal: pooled bins through two hidden layers, VGG's fc6 and fc7."""

import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.config.model import DetectionConfig
from sdcn_core.models.initialization import init_he
from sdcn_core.models.roi_pool import roi_pool


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
