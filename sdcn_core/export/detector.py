"""The network of test time as one module with tensors in and tensors out: what is exported."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.export.operator import roi_max_pool
from sdcn_core.models.sdcn import SDCN
from sdcn_core.structures.box_deltas import DELTA_UNITS, decode_boxes


class Detector(nn.Module):
    """f^E and f^D of one image, without f^S; equals `SDCN.detect` bit for bit. It shares the network's weights.

    Args:
        sdcn: in evaluation mode; dropout is left out.
    """

    def __init__(self, sdcn: SDCN) -> None:
        super().__init__()
        self.num_classes = sdcn.num_classes
        self.backbone = sdcn.backbone
        self.detection = sdcn.detection
        self.train(sdcn.training)

    def forward(self, image: Tensor, proposals: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Scores (N, C) in [0, 1], without background: the refinements' mean, or D^m where there are none. With box
        regression also where it moves each proposal as a box of each class, (N, C, 4) xyxy px, half-open, not cut at
        the image's edges.

        Args:
            image: (1, 3, H, W) float32, RGB in [0, 255].
            proposals: (N, 4) float32 xyxy px of the image, half-open, N >= 1.
        """
        x = self.backbone(image)[-1]
        layers = self.detection.features
        pooled = roi_max_pool(x, proposals, layers.stride, layers.grid)  # (N, D, g, g)
        hidden = F.relu(layers.fc6(pooled.flatten(1)))  # dropout is for training
        hidden = F.relu(layers.fc7(hidden))
        if not self.detection.refinement.heads:
            return self._midn_scores(hidden)
        refinements = [logits.softmax(dim=1) for logits in self.detection.refinement(hidden)]  # K times (N, C + 1)
        scores = torch.stack(refinements).mean(dim=0)[:, : self.num_classes]
        moves = self.detection.refinement.deltas(hidden)  # K or 0 times (N, C, 4)
        if not moves:
            return scores
        deltas = torch.stack(moves).mean(dim=0)
        return scores, decode_boxes(proposals, deltas * deltas.new_tensor(DELTA_UNITS))

    def _midn_scores(self, hidden: Tensor) -> Tensor:
        """D^m, eq. (2), of one image. `Midn` splits several by their numbers, which a program would hold fixed."""
        midn = self.detection.midn
        return midn.select(hidden).float().softmax(dim=0) * midn.classify(hidden).float().softmax(dim=1)
