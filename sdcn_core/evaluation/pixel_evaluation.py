"""What some images of a test split say of pixels, image by image so that several processes can share it.

N proposals of an image, C classes, h x w the grid of a segmentation map.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.data.image_set import AnnotatedSet
from sdcn_core.data.images import read_image
from sdcn_core.evaluation.evaluator import ProposalSource, SplitScores
from sdcn_core.evaluation.inference import Segmenter, segment_image
from sdcn_core.evaluation.pixel_metrics import PixelCounts, detected_class, pixel_confusion, strongest_class
from sdcn_core.evaluation.predictions import ClassMap


@dataclass(frozen=True)
class PixelFindings:
    """Shards of a split add up."""

    counts: PixelCounts
    """of the images that have a mask"""
    maps: Mapping[int, ClassMap]
    """position in the split -> strongest class of each cell of the segmentation map"""

    @classmethod
    def none(cls, num_classes: int, *, segmentation: bool) -> "PixelFindings":
        """Of no image; `segmentation`: whether there is a segmentation branch."""
        return cls(PixelCounts.none(num_classes, segmentation=segmentation), {})

    def __add__(self, other: "PixelFindings") -> "PixelFindings":
        return PixelFindings(self.counts + other.counts, {**self.maps, **other.maps})


def find_pixels(
    segmenter: Segmenter | None,
    annotated_set: AnnotatedSet,
    scores: SplitScores,
    proposals: ProposalSource,
    *,
    config: EvaluationConfig,
    max_side_px: int,
    indices: Sequence[int],
    shown: Collection[int],
) -> PixelFindings:
    """Judge the pixels of those images at `indices` that have a mask, and keep the maps of those that are shown.

    An image that has no mask and is not shown costs nothing; the others cost one forward of the segmenter.

    Args:
        segmenter: the network in evaluation mode; None without a segmentation branch.
        annotated_set: the split.
        scores: of the images at `indices`, (N, C) each, as `score_images` made them: they become the heat maps.
        proposals: by image id.
        config: the scale of the maps.
        max_side_px: see `score_proposals`.
        indices: positions in the split; may be empty.
        shown: positions in the split whose maps are kept.

    Raises:
        DatasetError: an image or a mask cannot be read; the message names the file.
    """
    num_classes = len(annotated_set.image_set.classes)
    findings = PixelFindings.none(num_classes, segmentation=segmenter is not None)
    for index in indices:
        record = annotated_set.image_set.records[index]
        masks = annotated_set.masks if annotated_set.masks and record.image_id in annotated_set.masks else None
        maps = None
        if segmenter is not None and (masks is not None or index in shown):
            maps = segment_image(segmenter, read_image(record.path), config=config, max_side_px=max_side_px)
        counts = PixelCounts.none(num_classes, segmentation=segmenter is not None)
        if masks is not None:
            counts = _count(masks.read(record), maps, scores[index], proposals[record.image_id])
        kept = {} if maps is None or index not in shown else {index: _grid(maps)}
        findings += PixelFindings(counts, kept)
    return findings


def _count(
    mask: NDArray[np.int16],
    maps: NDArray[np.float32] | None,
    scores: NDArray[np.float32],
    boxes: NDArray[np.float32],
) -> PixelCounts:
    height, width = mask.shape
    num_classes = scores.shape[1]
    heat = detected_class(scores, boxes, height=height, width=width)
    segmented = None if maps is None else strongest_class(maps, height=height, width=width)
    return PixelCounts(
        num_masks=1,
        heatmap=pixel_confusion(mask, heat, num_classes=num_classes),
        segmentation=None if segmented is None else pixel_confusion(mask, segmented, num_classes=num_classes),
    )


def _grid(maps: NDArray[np.float32]) -> ClassMap:
    grid: ClassMap = maps.argmax(axis=0).astype(np.min_scalar_type(len(maps) - 1))
    return grid
