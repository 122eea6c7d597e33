"""One image at test time: its proposals scored and moved, the mean over scales and mirror images, and its segmentation
map.

N proposals, C classes, h x w the map's grid.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.evaluation.scored_boxes import ScoredBoxes
from sdcn_core.structures.box_deltas import decode_boxes, flip_deltas
from sdcn_core.structures.boxes import clip_boxes, flip_boxes
from sdcn_core.structures.outputs import ScoredProposals

Scorer = Callable[[Tensor, Tensor], ScoredProposals]
"""One image (1, 3, H, W) float32 RGB in [0, 255] and proposals (N, 4) xyxy px of it, both on the CPU -> what the
network says of them, on any device. The scorer moves its input to its device and has its network in evaluation mode."""

Segmenter = Callable[[Tensor], Tensor]
"""One image (1, 3, H, W) as above -> S (C + 1, h, w) in [0, 1], background last, on any device."""


def score_proposals(
    scorer: Scorer,
    image: NDArray[np.uint8],
    proposals: NDArray[np.floating],
    *,
    config: EvaluationConfig,
    max_side_px: int,
) -> ScoredBoxes:
    """Mean scores, and mean deltas where the network gives some, over `config.test_scales_px` and, with `config.flip`,
    the mirror image at each scale. The boxes are the proposals, moved by their deltas and cut at the image's edges.

    Args:
        scorer: the network.
        image: (H, W, 3) RGB.
        proposals: (N, 4) xyxy px of `image`, half-open, N >= 1.
        config: scales, the side they apply to, and flips.
        max_side_px: the longest side is never larger than this, whatever the scale says.
    """
    height, width = image.shape[:2]
    passes: list[ScoredProposals] = []
    for scale_px in config.test_scales_px or (None,):
        pixels = _at_scale(image, scale_px, config, max_side_px)  # (1, 3, H', W')
        new_height, new_width = pixels.shape[2:]
        # each axis by its own ratio: the size is rounded to pixels, and the boxes must stay on what they enclose
        ratios = np.array([new_width / width, new_height / height] * 2)
        boxes = torch.tensor(proposals * ratios, dtype=torch.float32)
        with torch.inference_mode():
            passes.append(scorer(pixels, boxes))
            if config.flip:
                passes.append(_unmirrored(scorer(pixels.flip(3), flip_boxes(boxes, new_width))))
    scores: NDArray[np.float32] = _mean([one.scores for one in passes]).float().numpy()
    deltas = [one.deltas for one in passes if one.deltas is not None]
    if not deltas:
        return ScoredBoxes(scores, proposals)
    moved = decode_boxes(torch.tensor(proposals, dtype=torch.float64), _mean(deltas))  # (N, C, 4)
    return ScoredBoxes(scores, clip_boxes(moved, height, width).float().numpy())


def _mean(passes: Sequence[Tensor]) -> Tensor:
    """In double precision, on the CPU."""
    return torch.stack([one.cpu() for one in passes]).double().mean(dim=0)


def _unmirrored(said: ScoredProposals) -> ScoredProposals:
    """What was said of the mirror image, as said of the image."""
    return said if said.deltas is None else ScoredProposals(said.scores, flip_deltas(said.deltas))


def search_side(height: int, width: int, *, config: EvaluationConfig, max_side_px: int, unscaled_px: int) -> int:
    """The longest side, px, at which an image from outside the data set is searched for proposals: that of the largest
    pass, for the search takes time and memory with the pixels, and the network sees no more of them.

    Args:
        height: px, of the image.
        width: px.
        config: scales and the side they apply to.
        max_side_px: see `score_proposals`.
        unscaled_px: at most so many where there are no scales, so that the network sees any image as large as it is.

    >>> voc = EvaluationConfig(test_scales_px=(480, 1200))
    >>> search_side(1500, 2000, config=voc, max_side_px=2000, unscaled_px=640)
    1200
    >>> search_side(1500, 2000, config=EvaluationConfig(test_scales_px=None), max_side_px=2000, unscaled_px=640)
    640
    """
    if not config.test_scales_px:
        return min(unscaled_px, max_side_px)
    side = config.test_side
    return max(
        max(scoring_size(height, width, scale_px=scale_px, side=side, max_side_px=max_side_px))
        for scale_px in config.test_scales_px
    )


def segment_image(
    segmenter: Segmenter, image: NDArray[np.uint8], *, config: EvaluationConfig, max_side_px: int
) -> NDArray[np.float32]:
    """The maps S (C + 1, h, w) of an image at one scale, the middle one of `config.test_scales_px`, without mirroring.

    Args:
        segmenter: the network.
        image: (H, W, 3) RGB.
        config: scales and the side they apply to.
        max_side_px: see `score_proposals`.
    """
    scales = sorted(config.test_scales_px or ())
    scale_px = scales[len(scales) // 2] if scales else None
    with torch.inference_mode():
        maps: NDArray[np.float32] = segmenter(_at_scale(image, scale_px, config, max_side_px)).cpu().numpy()
    return maps


def _at_scale(image: NDArray[np.uint8], scale_px: int | None, config: EvaluationConfig, max_side_px: int) -> Tensor:
    """The image (1, 3, H', W') as networks take it."""
    height, width = scoring_size(*image.shape[:2], scale_px=scale_px, side=config.test_side, max_side_px=max_side_px)
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return torch.tensor(resized, dtype=torch.float32).permute(2, 0, 1)[None].contiguous()


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
