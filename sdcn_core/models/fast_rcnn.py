"""Fast R-CNN (Girshick 2015): what a second stage trains on the boxes that SDCN has found (paper, section 4)."""

from pathlib import Path

import torch
from torch import Tensor, nn

from sdcn_core.config.model import DetectionConfig, ModelConfig
from sdcn_core.models.backbone import build_backbone
from sdcn_core.models.channels_last import channels_last_weights
from sdcn_core.models.detection_network import DetectionNetwork
from sdcn_core.models.full_precision import in_float32
from sdcn_core.models.initialization import init_box_head, init_head
from sdcn_core.models.roi_features import RoiFeatures, load_pretrained_layers
from sdcn_core.structures.outputs import BoxOutput, ScoredProposals


class BoxBranch(nn.Module):
    """Map x and RoIs -> logits, and for every class a delta in that class's own mean and deviation.

    Args:
        in_channels: D of x.
        stride: pixels a cell of x.
        num_classes: C, without background.
        config: RoI grid and hidden layers.
    """

    delta_means: Tensor
    """(C, 4) of the training's deltas; saved with the weights"""
    delta_stds: Tensor
    """(C, 4) > 0"""

    def __init__(self, in_channels: int, stride: int, num_classes: int, config: DetectionConfig) -> None:
        super().__init__()
        self.features = RoiFeatures(in_channels, stride, config)
        self.classify = init_head(nn.Linear(config.hidden, num_classes + 1))
        self.regress = init_box_head(nn.Linear(config.hidden, 4 * num_classes))
        self.register_buffer("delta_means", torch.zeros(num_classes, 4))
        self.register_buffer("delta_stds", torch.ones(num_classes, 4))

    def forward(self, x: Tensor, rois: tuple[Tensor, ...]) -> tuple[BoxOutput, ...]:
        """One output an image; the RoIs of all images go through in one pass.

        Args:
            x: (B, D, h, w).
            rois: B times (R_b, 4) xyxy px, half-open, R_b >= 1.
        """
        counts = [len(boxes) for boxes in rois]
        owners = torch.arange(len(rois), device=x.device).repeat_interleave(torch.tensor(counts, device=x.device))
        said = self.outputs(self.features(x, torch.cat(rois), owners))
        images = zip(said.logits.split(counts), said.deltas.split(counts), strict=True)
        return tuple(BoxOutput(*output) for output in images)

    def outputs(self, features: Tensor) -> BoxOutput:
        """What the heads say in float32 of RoIs by their hidden features (R, F)."""
        logits = in_float32(self.classify, features).float()
        return BoxOutput(logits, in_float32(self.regress, features).float().unflatten(1, (-1, 4)))

    def scored(self, output: BoxOutput) -> ScoredProposals:
        """The same at test time: probabilities without background, deltas with their mean and deviation given back."""
        scores = output.logits.softmax(dim=1)[:, : len(self.delta_means)]
        return ScoredProposals(scores, output.deltas * self.delta_stds + self.delta_means)


class FastRCNN(DetectionNetwork):
    """An extractor, two hidden layers on each pooled RoI, and for each what it is and where its box lies.

    Args:
        config: the extractor and f^D's RoI grid, hidden layers and dropout; nothing else is used.
        num_classes: C, without background.
        weights_root: folder of pretrained weights.

    Raises:
        WeightsError: weights are named that cannot be had.
    """

    detection: BoxBranch

    def __init__(self, config: ModelConfig, num_classes: int, *, weights_root: Path | None) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = build_backbone(config.backbone, weights_root=weights_root)
        self.detection = BoxBranch(self.backbone.channels[-1], self.backbone.stride, num_classes, config.detection)
        self.segmentation = None
        load_pretrained_layers(self.detection.features, config.backbone, weights_root)
        channels_last_weights(self)

    def forward(self, images: Tensor, rois: tuple[Tensor, ...]) -> tuple[BoxOutput, ...]:
        """One output an image; arguments as of `detect`."""
        return self.detection(self.backbone(images)[-1], rois)

    @torch.no_grad()
    def detect(self, images: Tensor, proposals: tuple[Tensor, ...]) -> tuple[ScoredProposals, ...]:
        """Scores and deltas of each image's proposals; see DetectionNetwork."""
        return tuple(self.detection.scored(output) for output in self(images, proposals))
