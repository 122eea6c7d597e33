"""The network of test time as one module with tensors in and tensors out: what is exported."""

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.export.operator import roi_max_pool
from sdcn_core.models.detection_branch import DetectionBranch
from sdcn_core.models.detection_network import DetectionNetwork
from sdcn_core.models.fast_rcnn import BoxBranch, FastRCNN
from sdcn_core.models.sdcn import SDCN
from sdcn_core.structures.box_deltas import DELTA_UNITS, decode_boxes


class Detector(nn.Module, ABC):
    """Extractor and detection branch on one image, without f^S; equals the network's own `detect` bit for bit. It
    shares the network's weights.

    Args:
        network: in evaluation mode; dropout is left out.
    """

    detection: DetectionBranch | BoxBranch

    def __init__(self, network: SDCN | FastRCNN) -> None:
        super().__init__()
        self.num_classes = network.num_classes
        self.backbone = network.backbone
        self.detection = network.detection
        self.train(network.training)

    def forward(self, image: Tensor, proposals: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Scores (N, C) in [0, 1], without background. With box regression also where it moves each proposal as a box
        of each class, (N, C, 4) xyxy px, half-open, not cut at the image's edges.

        Args:
            image: (1, 3, H, W) float32, RGB in [0, 255].
            proposals: (N, 4) float32 xyxy px of the image, half-open, N >= 1.
        """
        x = self.backbone(image)[-1]
        layers = self.detection.features
        pooled = roi_max_pool(x, proposals, layers.stride, layers.grid)  # (N, D, g, g)
        hidden = F.relu(layers.fc6(pooled.flatten(1)))  # dropout is for training
        hidden = F.relu(layers.fc7(hidden))
        scores, deltas = self.heads(hidden)
        return scores if deltas is None else (scores, decode_boxes(proposals, deltas))

    @abstractmethod
    def heads(self, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
        """Scores (N, C) and, with box regression, deltas (N, C, 4) of proposals by their hidden features (N, F)."""


class SdcnDetector(Detector):
    """f^E and f^D: the refinements' mean, or D^m where there are none."""

    detection: DetectionBranch

    def heads(self, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
        if not self.detection.refinement.heads:
            return self._midn_scores(hidden), None
        refinements = [logits.softmax(dim=1) for logits in self.detection.refinement(hidden)]  # K times (N, C + 1)
        scores = torch.stack(refinements).mean(dim=0)[:, : self.num_classes]
        moves = self.detection.refinement.deltas(hidden)  # K or 0 times (N, C, 4)
        if not moves:
            return scores, None
        deltas = torch.stack(moves).mean(dim=0)
        return scores, deltas * deltas.new_tensor(DELTA_UNITS)

    def _midn_scores(self, hidden: Tensor) -> Tensor:
        """D^m, eq. (2), of one image. `Midn` splits several by their numbers, which a program would hold fixed."""
        midn = self.detection.midn
        return midn.select(hidden).float().softmax(dim=0) * midn.classify(hidden).float().softmax(dim=1)


class FastRcnnDetector(Detector):
    """The Fast R-CNN of a second stage."""

    detection: BoxBranch

    def heads(self, hidden: Tensor) -> tuple[Tensor, Tensor | None]:
        said = self.detection.scored(self.detection.outputs(hidden))
        return said.scores, said.deltas


def detector_of(network: DetectionNetwork) -> Detector:
    """The module that is exported of a network in evaluation mode."""
    if isinstance(network, FastRCNN):
        return FastRcnnDetector(network)
    assert isinstance(network, SDCN)  # there is no third
    return SdcnDetector(network)
