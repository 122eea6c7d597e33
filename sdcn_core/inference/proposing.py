"""Selective Search on one image that need not be a file."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from sdcn_core.config.data import ProposalConfig, search_of_new_images
from sdcn_core.data.selective_search import search_image
from sdcn_core.errors import SearchBusy

_one_at_a_time = threading.Lock()
"""the search draws from C's rand(), which all threads share: two at once would rank at random"""


@contextmanager
def turn_to_search(wait_s: float | None) -> Iterator[None]:
    """The only search of this process until the end of the block.

    Args:
        wait_s: how long to wait for others, >= 0; None: as long as it takes.

    Raises:
        SearchBusy: others searched all the time.
    """
    if not _one_at_a_time.acquire(timeout=-1 if wait_s is None else wait_s):
        raise SearchBusy(f"other images are searched for proposals and were not done within {wait_s:.3g} s: try again")
    try:
        yield
    finally:
        _one_at_a_time.release()


def propose(image: NDArray[np.uint8], config: ProposalConfig, *, max_side_px: int) -> NDArray[np.float32]:
    """The boxes (N, 4) xyxy px that a training would have had for this image, or for new images has been given; N may
    be 0. Needs `turn_to_search`.

    Args:
        image: (H, W, 3) RGB.
        config: the proposals that the model was trained with.
        max_side_px: larger images are searched at this longest side, whatever `config` says; see `search_side`. Boxes
            are those of `image` all the same.
    """
    search = search_of_new_images(config)
    side = max_side_px if search.max_image_side_px is None else min(search.max_image_side_px, max_side_px)
    return search_image(image, mode=search.mode, max_side_px=side, min_side_px=search.min_side_px, limit=search.limit)
