"""Scores of one image's proposals at test time: the mean over scales and mirror images. N proposals, C classes."""

from collections.abc import Callable
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.structures.boxes import flip_boxes

Scorer = Callable[[Tensor, Tensor], Tensor]
"""One image (1, 3, H, W) float32 RGB in [0, 255] and proposals (N, 4) xyxy px of it, both on the CPU -> scores (N, C)
without background, on any device. The scorer moves its input to its device and has its network in evaluation mode."""


def score_proposals(
    scorer: Scorer,
    image: NDArray[np.uint8],
    proposals: NDArray[np.floating],
    *,
    config: EvaluationConfig,
    max_side_px: int,
) -> NDArray[np.float32]:
    """Mean scores (N, C) over `config.test_scales_px` and, with `config.flip`, the mirror image at each scale.

    Args:
        scorer: the network.
        image: (H, W, 3) RGB.
        proposals: (N, 4) xyxy px of `image`, half-open, N >= 1.
        config: scales, the side they apply to, and flips.
        max_side_px: the longest side is never larger than this, whatever the scale says.
    """
    height, width = image.shape[:2]
    passes: list[Tensor] = []
    for scale_px in config.test_scales_px or (None,):
        new_height, new_width = scoring_size(
            height, width, scale_px=scale_px, side=config.test_side, max_side_px=max_side_px
        )
        resized = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
        pixels = torch.tensor(resized, dtype=torch.float32).permute(2, 0, 1)[None].contiguous()  # (1, 3, H', W')
        # each axis by its own ratio: the size is rounded to pixels, and the boxes must stay on what they enclose
        ratios = np.array([new_width / width, new_height / height] * 2)
        boxes = torch.tensor(proposals * ratios, dtype=torch.float32)
        with torch.inference_mode():
            passes.append(scorer(pixels, boxes).cpu())
            if config.flip:
                passes.append(scorer(pixels.flip(3), flip_boxes(boxes, new_width)).cpu())
    mean: NDArray[np.float32] = torch.stack(passes).double().mean(dim=0).float().numpy()
    return mean


def scoring_size(
    height: int, width: int, *, scale_px: int | None, side: Literal["shortest", "longest"], max_side_px: int
) -> tuple[int, int]:
    """Height and width at which an image is scored: `side` becomes `scale_px` (None: stays as it is), but the longest
    side at most `max_side_px`.

    >>> scoring_size(300, 500, scale_px=480, side="shortest", max_side_px=2000)
    (480, 800)
    >>> scoring_size(300, 500, scale_px=480, side="shortest", max_side_px=600)
    (360, 600)
    """
    scaled_side = min(height, width) if side == "shortest" else max(height, width)
    factor = 1.0 if scale_px is None else scale_px / scaled_side
    factor = min(factor, max_side_px / max(height, width))
    return max(1, round(height * factor)), max(1, round(width * factor))
