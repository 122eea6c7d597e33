"""What every network that detects has in common, whatever it was taught by: it is judged, saved and asked for boxes."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from sdcn_core.models.backbone import Backbone
from sdcn_core.models.segmentation_branch import SegmentationBranch
from sdcn_core.structures.outputs import ScoredProposals


class DetectionNetwork(nn.Module, ABC):
    """An extractor, and a branch that says something of proposals on its map."""

    num_classes: int
    """C, without background"""
    backbone: Backbone
    """f^E"""
    detection: nn.Module
    """f^D, or what stands in its place"""
    segmentation: SegmentationBranch | None
    """f^S; None: there is none"""

    @abstractmethod
    def detect(self, images: Tensor, proposals: tuple[Tensor, ...]) -> tuple[ScoredProposals, ...]:
        """What it says of each image's proposals at test time; the module should be in eval mode.

        Args:
            images: (B, 3, H, W) float, RGB, [0, 255].
            proposals: B times (N_b, 4) xyxy px of the images, half-open, N_b >= 1.
        """
