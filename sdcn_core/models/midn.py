"""The multiple instance detection network f^D^m, eq. (2): WSDDN's two streams."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sdcn_core.models.full_precision import in_float32
from sdcn_core.models.initialization import init_head


class Midn(nn.Module):
    """D^m = softmax over an image's proposals ⊙ softmax over classes: who speaks for a class, and what each one is.

    There is no background column.
    """

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.select = init_head(nn.Linear(in_features, num_classes))
        self.classify = init_head(nn.Linear(in_features, num_classes))

    def forward(self, features: Tensor, counts: Sequence[int]) -> tuple[Tensor, ...]:
        """D^m of each image, (N_b, C) float32 in [0, 1]; the columns of one image sum to its image scores.

        Args:
            features: (R, F), the proposals of all images, one image after the other.
            counts: N_b of each image, summing to R.
        """
        # float32: with 2000 proposals and 20 classes first scores are 2.5e-5, which float16 cannot hold.
        selections = in_float32(self.select, features).float().split(list(counts))
        classes = in_float32(self.classify, features).float().softmax(dim=1).split(list(counts))
        return tuple(torch.softmax(s, dim=0) * c for s, c in zip(selections, classes, strict=True))
