"""f^S, eq. (8): soft maps of all classes and background, after the RefineNet of CPN with group norm (appendix A).

Our reading of figure 4c: laterals and top-down sums feed RefineNet's bottlenecks; CPN's other half, GlobalNet with
outputs and losses of its own, is left out.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.config.model import SegmentationConfig
from sdcn_core.errors import BadInput
from sdcn_core.models.full_precision import in_float32
from sdcn_core.models.initialization import init_he, init_head


class ConvGroupNorm(nn.Module):
    """A convolution that keeps the grid, and group norm: a batch of one image is too small for batch norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.norm = nn.GroupNorm(groups, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


class RefineBottleneck(nn.Module):
    """1x1, 3x3, 1x1 beside a shortcut; the shortcut is projected where the width changes."""

    def __init__(self, in_channels: int, config: SegmentationConfig) -> None:
        super().__init__()
        out, width, groups = config.channels, config.bottleneck, config.groups
        self.reduce = ConvGroupNorm(in_channels, width, 1, groups=groups)
        self.middle = ConvGroupNorm(width, width, 3, groups=groups)
        self.expand = ConvGroupNorm(width, out, 1, groups=groups)
        self.shortcut = nn.Identity() if in_channels == out else ConvGroupNorm(in_channels, out, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        branch = F.relu(self.reduce(x), inplace=True)
        branch = F.relu(self.middle(branch), inplace=True)
        return F.relu(self.expand(branch) + self.shortcut(x), inplace=True)


class SegmentationBranch(nn.Module):
    """The backbone's last n maps -> map logits on the grid of the last; their softmax over channels is S.

    Softmax, because eq. (23) gives each pixel one label, and because with sigmoids a foreground map that is 1
    everywhere would satisfy eqs. (11) and (12) on an image of one class.

    Args:
        in_channels: of all of the backbone's maps, fine -> coarse.
        num_classes: C, without background.
        config: n, widths, groups.

    Raises:
        BadInput: the backbone has fewer maps than n.
    """

    def __init__(self, in_channels: tuple[int, ...], num_classes: int, config: SegmentationConfig) -> None:
        super().__init__()
        if config.levels > len(in_channels):
            raise BadInput(
                f"segmentation.levels is {config.levels}, but the backbone has {len(in_channels)} maps: lower it"
            )
        levels, channels, groups = config.levels, config.channels, config.groups
        self.levels = levels
        self.laterals = nn.ModuleList(ConvGroupNorm(d, channels, 1, groups=groups) for d in in_channels[-levels:])
        self.top_down = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(levels - 1))
        # Level i, counted from the finest, gets i bottlenecks (CPN): coarse maps are cheap, and have more to say.
        self.towers = nn.ModuleList(
            nn.Sequential(*(RefineBottleneck(channels, config) for _ in range(level))) for level in range(levels)
        )
        self.fuse = RefineBottleneck(levels * channels, config)
        init_he(self)
        self.classify = init_head(nn.Conv2d(channels, num_classes + 1, 3, padding=1))

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """Map logits (B, C + 1, h, w) float32 of maps (B, D_i, h_i, w_i), fine -> coarse; h x w is the last grid."""
        grid = features[-1].shape[2:]
        maps = [
            F.relu(lateral(x), inplace=True) for lateral, x in zip(self.laterals, features[-self.levels :], strict=True)
        ]
        for level in reversed(range(self.levels - 1)):
            # CPN convolves after upsampling; a 1x1 convolution commutes with it, and costs less before.
            coarser = self.top_down[level](maps[level + 1])
            maps[level] = maps[level] + _resized(coarser, maps[level].shape[2:])
        refined = [_resized(tower(x), grid) for tower, x in zip(self.towers, maps, strict=True)]
        return in_float32(self.classify, self.fuse(torch.cat(refined, dim=1))).float()


def _resized(x: Tensor, size: torch.Size) -> Tensor:
    return x if x.shape[2:] == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)
