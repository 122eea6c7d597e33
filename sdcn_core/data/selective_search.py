"""Selective Search (Uijlings et al. 2013) on one image. Light on purpose: spawned processes import this and little
else.
"""

import ctypes
import multiprocessing
import os
import signal
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcn_core.data.images import decode_image, read_image_bytes

Boxes = NDArray[np.float32]
SEED = 0


def search_file(path: Path, *, mode: str, max_side_px: int | None, min_side_px: int, limit: int) -> Boxes:
    """`search_image` on a JPEG or PNG file.

    Raises:
        DatasetError: the image cannot be read; the message names the file.
    """
    image = decode_image(read_image_bytes(path), path)
    return search_image(image, mode=mode, max_side_px=max_side_px, min_side_px=min_side_px, limit=limit)


def search_image(
    image: NDArray[np.uint8], *, mode: str, max_side_px: int | None, min_side_px: int, limit: int
) -> Boxes:
    """Boxes (N, 4) float32 xyxy px, half-open, of the image, best first; N may be 0.

    Not for two threads at once: the search seeds and draws from C's rand(), which a process has once.

    Args:
        image: (H, W, 3) RGB.
        mode: "fast" or "quality".
        max_side_px: the search runs on the image shrunk to this longest side; None: as it is.
        min_side_px: boxes with a shorter side, in the image itself, are dropped.
        limit: at most this many are kept, the first in the search's own ranking.
    """
    height, width = image.shape[:2]
    shrunk = image
    if max_side_px is not None and max(height, width) > max_side_px:
        factor = max_side_px / max(height, width)
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        shrunk = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    found = _search(np.ascontiguousarray(shrunk[:, :, ::-1]), mode)
    scale = np.array([width / shrunk.shape[1], height / shrunk.shape[0]] * 2, np.float32)
    boxes = np.clip(found * scale, 0, np.array([width, height, width, height], np.float32)).astype(np.float32)
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes[(sides > 0).all(axis=1) & (sides >= min_side_px).all(axis=1)]
    first = np.sort(np.unique(boxes, axis=0, return_index=True)[1]) if len(boxes) else np.zeros(0, np.int64)
    return boxes[first][:limit]


def begin_process() -> None:
    """What a search process does first: leave Ctrl-C to the process that started it, and never outlive that one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait([sentinel])  # returns when the parent is gone, killed too; without it an idle process would wait for ever
    os._exit(1)


def _search(bgr: NDArray[np.uint8], mode: str) -> Boxes:
    cv2.setNumThreads(1)  # many processes search at once; OpenCV's threads would fight over the cores
    ctypes.CDLL(None).srand(SEED)  # the ranking draws from C's rand(): the same boxes come in another order otherwise
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(bgr)
    if mode == "fast":
        search.switchToSelectiveSearchFast()
    else:
        search.switchToSelectiveSearchQuality()
    found = np.asarray(search.process(), np.float32).reshape(-1, 4)  # x, y, width, height
    return np.concatenate([found[:, :2], found[:, :2] + found[:, 2:]], axis=1)
