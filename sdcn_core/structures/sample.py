"""What training sees of an image: pixels, proposals and image labels. There is no field for a box that somebody
drew.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images of one size, as one forward takes them. B images, C classes, N_b proposals of image b."""

    image_ids: tuple[str, ...]
    images: Tensor
    """(B, 3, H, W) float32, RGB, [0, 255]; each network normalizes for itself"""
    proposals: tuple[Tensor, ...]
    """B times (N_b, 4) float32 xyxy px of `images`, half-open, N_b >= 1"""
    image_labels: Tensor
    """(B, C) float32, 1 where the class is present"""
    pseudo_boxes: tuple[Tensor, ...] = ()
    """of a second stage, B times (M_b, 4) float32 as `proposals`: what another detector found; M_b >= 1"""
    pseudo_classes: tuple[Tensor, ...] = ()
    """B times (M_b,) int64 in [0, C)"""

    def __len__(self) -> int:
        return len(self.image_ids)
