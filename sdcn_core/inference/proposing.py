"""Selective Search on one image that need not be a file."""

import threading

import numpy as np
from numpy.typing import NDArray

from sdcn_core.config.data import ProposalConfig
from sdcn_core.data.selective_search import search_image

_one_at_a_time = threading.Lock()
"""the search draws from C's rand(), which all threads share: two at once would rank at random"""


def propose(image: NDArray[np.uint8], config: ProposalConfig, *, max_side_px: int) -> NDArray[np.float32]:
    """The boxes (N, 4) xyxy px that a training would have had for this image; N may be 0.

    Args:
        image: (H, W, 3) RGB.
        config: the search that the model was trained with.
        max_side_px: larger images are searched at this longest side, whatever `config` says: the search takes time and
            memory with the pixels, and the network sees no more of them. Boxes are those of `image` all the same.
    """
    side = max_side_px if config.max_image_side_px is None else min(config.max_image_side_px, max_side_px)
    with _one_at_a_time:
        return search_image(
            image, mode=config.mode, max_side_px=side, min_side_px=config.min_side_px, limit=config.limit
        )
