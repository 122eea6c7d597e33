"""A backbone that answers with image labels: how f^E learns where no pretrained weights are given."""

from torch import Tensor, nn

from sdcn_core.models.backbone import Backbone
from sdcn_core.models.channels_last import channels_last_weights
from sdcn_core.models.full_precision import in_float32
from sdcn_core.models.initialization import init_head


class ImageClassifier(nn.Module):
    """Images (B, 3, H, W) RGB in [0, 255] -> logits (B, C), from the mean of x's global average and its global maximum.

    The average alone lets small objects drown, the maximum alone teaches one cell at a time.
    """

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classify = init_head(nn.Linear(backbone.channels[-1], num_classes))
        channels_last_weights(self)

    def forward(self, images: Tensor) -> Tensor:
        x = self.backbone(images)[-1]  # (B, D, h, w)
        return in_float32(self.classify, (x.mean(dim=(2, 3)) + x.amax(dim=(2, 3))) / 2)
