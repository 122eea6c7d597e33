"""f^D, eq. (1): OICR's detection branch. MIDN teaches the refinements, the refinements detect."""

import torch
from torch import Tensor, nn

from sdcn_core.config.model import DetectionConfig
from sdcn_core.models.midn import Midn
from sdcn_core.models.refinement import Refinement
from sdcn_core.models.roi_features import RoiFeatures
from sdcn_core.structures.outputs import DetectionOutput


class DetectionBranch(nn.Module):
    """Map x and proposals -> scores and logits of every proposal.

    Args:
        in_channels: D of x.
        stride: pixels a cell of x.
        num_classes: C, without background.
        config: RoI grid, hidden layers, number of refinements.
    """

    def __init__(self, in_channels: int, stride: int, num_classes: int, config: DetectionConfig) -> None:
        super().__init__()
        self.features = RoiFeatures(in_channels, stride, config)
        self.midn = Midn(config.hidden, num_classes)
        self.refinement = Refinement(
            config.hidden, num_classes, config.refinements, box_regression=config.box_regression
        )

    def forward(self, x: Tensor, proposals: tuple[Tensor, ...]) -> tuple[DetectionOutput, ...]:
        """One output an image; proposals of all images are pooled and classified in one pass.

        Args:
            x: (B, D, h, w).
            proposals: B times (N_b, 4) xyxy px, half-open, N_b >= 1.
        """
        counts = [len(boxes) for boxes in proposals]
        owners = torch.arange(len(proposals), device=x.device).repeat_interleave(torch.tensor(counts, device=x.device))
        features = self.features(x, torch.cat(proposals), owners)  # (R, hidden)
        midn_scores = self.midn(features, counts)
        refinements = [logits.split(counts) for logits in self.refinement(features)]  # K times B times (N_b, C + 1)
        moves = [deltas.split(counts) for deltas in self.refinement.deltas(features)]  # K or 0, B, (N_b, C, 4)
        return tuple(
            DetectionOutput(
                midn_scores=scores,
                refinement_logits=tuple(logits[image] for logits in refinements),
                refinement_deltas=tuple(deltas[image] for deltas in moves),
            )
            for image, scores in enumerate(midn_scores)
        )
