"""f^C: the classifier that judges what the masks keep and what they erase; the opponent of f^S in section 3.2.

B images, M masks over them, C classes.
"""

from pathlib import Path
from typing import assert_never

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sdcn_core.config.model import (
    ClassifierConfig,
    MobileNetClassifier,
    ResNet101Classifier,
    SmallResNetClassifier,
    SqueezeNetClassifier,
)
from sdcn_core.models.batch_norm import freeze_norms
from sdcn_core.models.channels_last import channels_last_weights
from sdcn_core.models.mobilenet import mobilenet_classifier
from sdcn_core.models.recomputation import recomputed
from sdcn_core.models.resnet import resnet101_classifier, small_classifier
from sdcn_core.models.squeezenet import squeezenet_classifier


class AdversarialClassifier(nn.Module):
    """f^C(I * s), the mask multiplied in at an inner layer ("any layer", below eq. 11).

    So the trunk sees each image once, not once a mask.

    Args:
        trunk: images (B, 3, H, W) RGB in [0, 255] -> maps (B, D, h', w').
        tail: masked maps (M, D, h', w') -> logits (M, C).
        mask_chunk: in training at most so many masked maps are in the tail together, and there again in the backward;
            None: all at once, kept.
    """

    def __init__(self, trunk: nn.Module, tail: nn.Module, *, mask_chunk: int | None = None) -> None:
        super().__init__()
        self.trunk = trunk
        self.tail = tail
        self.mask_chunk = mask_chunk
        channels_last_weights(self)

    def forward(self, images: Tensor, masks: Tensor | None = None, owners: Tensor | None = None) -> Tensor:
        """Logits (M, C) of the images under the masks; without masks (B, C), of the whole images.

        Args:
            images: (B, 3, H, W) float, RGB, [0, 255].
            masks: (M, h, w) in [0, 1], over the whole image, at any resolution; gradient reaches them.
            owners: (M,) int64, which image each mask lies over; given exactly where masks are.
        """
        features = self.trunk(images)  # (B, D, h', w')
        if masks is None or owners is None:
            if masks is not owners:
                raise ValueError("masks and owners come together: give both, or neither for whole images")
            return self.tail(features)
        resized = masks[:, None]  # (M, 1, h, w)
        if resized.shape[2:] != features.shape[2:]:
            resized = F.interpolate(resized, size=features.shape[2:], mode="bilinear", align_corners=False)
        if self.mask_chunk is None or not self.training:
            return self._masked(features, resized, owners)
        chunks = zip(resized.split(self.mask_chunk), owners.split(self.mask_chunk), strict=True)
        return torch.cat([recomputed(self._masked, features, *chunk) for chunk in chunks])

    def _masked(self, features: Tensor, masks: Tensor, owners: Tensor) -> Tensor:
        # Selected in the order of memory: index_select on the maps as they are would lay them out anew, and the tail's
        # pools take three times as long on that.
        owned = features.permute(0, 2, 3, 1).index_select(0, owners).permute(0, 3, 1, 2)  # (M, D, h', w')
        return self.tail(owned * masks)  # (M, C)

    def freeze_norm(self) -> None:
        """Batch norms use their running statistics from now on, for good, and learn nothing."""
        freeze_norms(self)


def build_classifier(config: ClassifierConfig, num_classes: int, *, weights_root: Path | None) -> AdversarialClassifier:
    """The classifier of a configuration, with its pretrained weights where it names some.

    Raises:
        WeightsError: the weights cannot be had.
    """
    match config:
        case ResNet101Classifier():
            trunk, tail = resnet101_classifier(
                num_classes,
                config.weights,
                weights_root,
                convention=config.convention,
                recompute_blocks=config.recompute_blocks,
            )
            return AdversarialClassifier(trunk, tail, mask_chunk=config.mask_chunk)
        case SmallResNetClassifier():
            trunk, tail = small_classifier(num_classes, config.widths)
        case SqueezeNetClassifier():
            trunk, tail = squeezenet_classifier(num_classes, config.weights, weights_root)
        case MobileNetClassifier():
            trunk, tail = mobilenet_classifier(num_classes, config.weights, weights_root)
        case _:
            assert_never(config)
    return AdversarialClassifier(trunk, tail)
