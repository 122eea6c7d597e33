"""Soft maps against drawn masks: IoU of each class (section 4.2), recall and precision of pixels (table 1).

N proposals of an image, C classes, background is class C; h x w a grid, H x W the image's pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcn_core.data.class_masks import VOID
from sdcn_core.evaluation.class_means import mean_over_classes
from sdcn_core.evaluation.scored_boxes import boxes_at

Confusion = NDArray[np.int64]
"""(C + 1, C + 1) pixels by their true class (row) and the class they were given (column). Images add up."""


@dataclass(frozen=True)
class PixelScores:
    """How maps agree with masks over all images that have one; every share is in [0, 1].

    A class that no mask shows has no score. One that is shown and never found has precision 0.
    """

    iou: tuple[float | None, ...]
    """(C + 1,) pixels of both over pixels of either, background last"""
    recall: tuple[float | None, ...]
    """(C,) of the class's pixels those found"""
    precision: tuple[float | None, ...]
    """(C,) of the pixels given to the class those that are its"""
    recall_micro: float | None
    """over the pixels of all classes but background together"""
    precision_micro: float | None

    @property
    def mean_iou(self) -> float | None:
        """mIoU: over the classes that masks show, background among them; None where there is no mask."""
        return mean_over_classes(self.iou)

    @property
    def mean_recall(self) -> float | None:
        """Over the classes that masks show, without background; None where there is none."""
        return mean_over_classes(self.recall)

    @property
    def mean_precision(self) -> float | None:
        return mean_over_classes(self.precision)

    @classmethod
    def of(cls, confusion: Confusion) -> "PixelScores":
        right = confusion.diagonal()
        true, given = confusion.sum(axis=1), confusion.sum(axis=0)
        return cls(
            iou=tuple(map(_share, right, true + given - right, true > 0)),
            recall=tuple(map(_share, right[:-1], true[:-1], true[:-1] > 0)),
            precision=tuple(map(_share, right[:-1], given[:-1], true[:-1] > 0)),
            recall_micro=_share(right[:-1].sum(), true[:-1].sum(), true[:-1].any()),
            precision_micro=_share(right[:-1].sum(), given[:-1].sum(), true[:-1].any()),
        )


@dataclass(frozen=True)
class PixelCounts:
    """What some images with masks say of both kinds of maps; counts of parts of a split add up."""

    num_masks: int
    heatmap: Confusion
    """of the detections turned into maps"""
    segmentation: Confusion | None
    """of the segmentation branch; None where there is none"""

    @classmethod
    def none(cls, num_classes: int, *, segmentation: bool) -> "PixelCounts":
        """Of no image; `segmentation`: whether there is a branch."""
        zeros = np.zeros((num_classes + 1, num_classes + 1), np.int64)
        return cls(0, zeros, zeros if segmentation else None)

    def __add__(self, other: "PixelCounts") -> "PixelCounts":
        """The counts of both; both have a segmentation branch or neither."""
        segmentation = None
        if self.segmentation is not None and other.segmentation is not None:
            segmentation = self.segmentation + other.segmentation
        return PixelCounts(self.num_masks + other.num_masks, self.heatmap + other.heatmap, segmentation)

    @property
    def heatmap_scores(self) -> PixelScores | None:
        """None where there was no mask."""
        return PixelScores.of(self.heatmap) if self.num_masks else None

    @property
    def segmentation_scores(self) -> PixelScores | None:
        """None where there was no mask or is no branch."""
        return PixelScores.of(self.segmentation) if self.num_masks and self.segmentation is not None else None


def _share(part: np.int64, whole: np.int64, known: np.bool_) -> float | None:
    if not known:
        return None
    return int(part) / int(whole) if whole else 0.0


def pixel_confusion(mask: NDArray[np.integer], given: NDArray[np.integer], *, num_classes: int) -> Confusion:
    """Counts of one image; pixels that are VOID in the mask are left out.

    Args:
        mask: (H, W) in [0, C] or VOID.
        given: (H, W) in [0, C], the class each pixel was given.
        num_classes: C.
    """
    counted = mask != VOID
    pairs = mask[counted].astype(np.int64) * (num_classes + 1) + given[counted]
    return np.bincount(pairs, minlength=(num_classes + 1) ** 2).reshape(num_classes + 1, num_classes + 1)


def strongest_class(maps: NDArray[np.float32], *, height: int, width: int) -> NDArray[np.int64]:
    """The class of each pixel: maps (C + 1, h, w) brought to H x W bilinearly, then the strongest of all channels (the
    first in a tie). No channel is left out for what the image's labels say: a test has none.
    """
    strongest = np.zeros((height, width), np.int64)
    best = np.full((height, width), -np.inf, np.float32)
    for channel, grid in enumerate(maps):
        values = cv2.resize(grid, (width, height), interpolation=cv2.INTER_LINEAR)
        stronger = values > best
        strongest[stronger] = channel
        best[stronger] = values[stronger]
    return strongest


def detected_class(
    scores: NDArray[np.floating], proposals: NDArray[np.floating], *, height: int, width: int
) -> NDArray[np.int64]:
    """The class that detection gives each pixel (H, W): argmax of S^det, eqs. (21)-(22), on the image's own pixels.

    Each proposal adds its score to the pixels it covers, and background is what the hottest class leaves to 1. The
    paper sets the channels of absent classes to zero and divides each other one by its own maximum. A test knows no
    labels; were each channel still divided by its own maximum, an absent class would glow as bright as a present one,
    so all are divided by the maximum over all classes: the same wherever an image shows one class.

    Args:
        scores: D without background, (N, C) in [0, 1].
        proposals: (N, 4) xyxy px, half-open; or (N, C, 4), another for each class.
        height: H.
        width: W.
    """
    pixels = np.rint(proposals).astype(np.int64).clip(0, [width, height, width, height])
    pitch = width + 1
    given = np.full((height, width), scores.shape[1], np.int64)
    hottest = np.zeros((height, width))
    for c, column in enumerate(scores.T.astype(np.float64)):
        x1, y1, x2, y2 = boxes_at(pixels, slice(None), c).T
        corners = np.concatenate([y1 * pitch + x1, y2 * pitch + x2, y1 * pitch + x2, y2 * pitch + x1])  # (4N,)
        steps = np.bincount(corners, np.concatenate([column, column, -column, -column]), (height + 1) * pitch)
        heat = steps.reshape(height + 1, pitch).cumsum(axis=0).cumsum(axis=1)[:height, :width]
        hotter = heat > hottest
        given[hotter] = c
        hottest[hotter] = heat[hotter]
    # class k wins where s_k >= 1 - s_k, in a tie the class before background
    given[2 * hottest < hottest.max(initial=0.0)] = scores.shape[1]
    return given
