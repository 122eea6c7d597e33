"""SDCN: one extractor, two branches (figure 2). It computes; what is wanted of it is said in sdcn_core.objective."""

from pathlib import Path

import torch
from torch import Tensor

from sdcn_core.config.model import ModelConfig
from sdcn_core.models.backbone import build_backbone
from sdcn_core.models.channels_last import channels_last_weights
from sdcn_core.models.detection_branch import DetectionBranch
from sdcn_core.models.detection_network import DetectionNetwork
from sdcn_core.models.roi_features import load_pretrained_layers
from sdcn_core.models.segmentation_branch import SegmentationBranch
from sdcn_core.structures.outputs import ScoredProposals, SDCNOutput


class SDCN(DetectionNetwork):
    """f^E, f^D and, unless the experiment is OICR's, f^S.

    Args:
        config: which networks; its classifier f^C is not part of this module.
        num_classes: C, without background.
        segmentation_branch: whether there is an f^S.
        weights_root: folder of pretrained weights.

    Raises:
        WeightsError: weights are named that cannot be had.
        BadInput: the parts do not fit together.
    """

    detection: DetectionBranch

    def __init__(
        self, config: ModelConfig, num_classes: int, *, segmentation_branch: bool, weights_root: Path | None
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = build_backbone(config.backbone, weights_root=weights_root)
        self.detection = DetectionBranch(
            self.backbone.channels[-1], self.backbone.stride, num_classes, config.detection
        )
        self.segmentation = (
            SegmentationBranch(self.backbone.channels, num_classes, config.segmentation)
            if segmentation_branch
            else None
        )
        load_pretrained_layers(self.detection.features, config.backbone, weights_root)
        channels_last_weights(self)

    def forward(self, images: Tensor, proposals: tuple[Tensor, ...]) -> SDCNOutput:
        """Both branches on a batch.

        Args:
            images: (B, 3, H, W) float, RGB, [0, 255].
            proposals: B times (N_b, 4) xyxy px of the images, half-open, N_b >= 1.
        """
        features = self.backbone(images)
        detections = self.detection(features[-1], proposals)
        return SDCNOutput(detections, None if self.segmentation is None else self.segmentation(features))

    @torch.no_grad()
    def detect(self, images: Tensor, proposals: tuple[Tensor, ...]) -> tuple[ScoredProposals, ...]:
        """What f^E and f^D alone say of each image's proposals: all that a test needs (appendix A).

        The module should be in eval mode, or dropout blurs them.
        """
        outputs = self.detection(self.backbone(images)[-1], proposals)
        return tuple(
            ScoredProposals(output.detection_scores()[:, : self.num_classes], output.detection_deltas())
            for output in outputs
        )
