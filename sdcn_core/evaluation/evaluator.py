"""Scores of a split, image by image so that several processes can share it, and the verdict over all of them.

N proposals of an image, C classes; background has no column here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.data.image_set import AnnotatedSet
from sdcn_core.data.images import read_image
from sdcn_core.errors import TrainingDiverged
from sdcn_core.evaluation.average_precision import ClassAP, average_precision, match_detections
from sdcn_core.evaluation.classification import classification_average_precision
from sdcn_core.evaluation.coco import coco_figures
from sdcn_core.evaluation.comp4 import rounded
from sdcn_core.evaluation.corloc import correct_localization, localize
from sdcn_core.evaluation.detections import detections_by_protocol
from sdcn_core.evaluation.error_modes import ClassErrorModes, classify_best_boxes, count_error_modes
from sdcn_core.evaluation.inference import Scorer, score_proposals
from sdcn_core.evaluation.pixel_metrics import PixelCounts
from sdcn_core.evaluation.report import EvaluationReport
from sdcn_core.evaluation.scored_boxes import ScoredBoxes
from sdcn_core.structures.annotation import Annotation, Detections

SplitScores = Mapping[int, NDArray[np.float32]]
"""Position of an image in its split -> scores (N, C) of its proposals. Shards of a split join as dicts do."""


@dataclass(frozen=True)
class Judged:
    """The verdict, and what it was counted from."""

    report: EvaluationReport
    detections: tuple[Detections, ...]
    """of the test split, in its order"""
    class_aps: tuple[ClassAP, ...] | None
    """(C,) on the test split; None where its boxes are unknown"""
    error_modes: tuple[ClassErrorModes, ...] | None
    """(C,) on the training split; None where it was not judged, or its boxes are unknown"""


class ProposalSource(Protocol):
    """Where proposals come from: a store or a plain dict, by image id."""

    def __getitem__(self, image_id: str, /) -> NDArray[np.float32]:
        """(N, 4) xyxy px, half-open, N >= 1."""
        ...


@dataclass(frozen=True)
class ScoredSplit:
    """A split, what was scored of it, and the scores. Ids are those of the split: another may use them too."""

    annotated: AnnotatedSet
    scores: SplitScores
    """of all its images"""
    proposals: ProposalSource
    """by image id the boxes that were scored, (N, 4), or (N, C, 4) where each class has its own"""


def score_images(
    scorer: Scorer,
    annotated_set: AnnotatedSet,
    proposals: ProposalSource,
    *,
    config: EvaluationConfig,
    max_side_px: int,
    indices: Sequence[int],
    progress: Callable[[int, int], None],
) -> dict[int, ScoredBoxes]:
    """Scores and boxes of the images at `indices` of the split, one after another; the others are somebody else's.

    Args:
        scorer: the network, in evaluation mode.
        annotated_set: the split; its annotations are not looked at.
        proposals: by image id.
        config: scales and flips.
        max_side_px: see `score_proposals`.
        indices: positions in the split; may be empty.
        progress: called with (images done, images to do) after each.

    Raises:
        DatasetError: an image cannot be read; the message names the file.
        TrainingDiverged: a score is not finite; the message names the image.
    """
    found: dict[int, ScoredBoxes] = {}
    records = annotated_set.image_set.records
    for done, index in enumerate(indices, start=1):
        record = records[index]
        found[index] = score_proposals(
            scorer, read_image(record.path), proposals[record.image_id], config=config, max_side_px=max_side_px
        )
        if not (np.isfinite(found[index].scores).all() and np.isfinite(found[index].boxes).all()):
            raise TrainingDiverged(
                f"image {record.image_id}: the network's scores are not finite; its weights are spoilt:"
                " train with a lower learning rate or with clip_norm"
            )
        progress(done, len(indices))
    return found


def chance_scores(
    annotated_set: AnnotatedSet, proposals: ProposalSource, *, seed: int, indices: Sequence[int] | None = None
) -> dict[int, NDArray[np.float32]]:
    """Uniform random scores: what a network reaches that has learnt nothing.

    An image's scores depend on seed and position alone, so shards agree with the whole. `indices` None: all images.
    """
    image_set = annotated_set.image_set
    scores: dict[int, NDArray[np.float32]] = {}
    for index in range(len(image_set.records)) if indices is None else indices:
        shape = (len(proposals[image_set.records[index].image_id]), len(image_set.classes))
        scores[index] = np.random.default_rng([seed, index]).random(shape, dtype=np.float32)
    return scores


def judge(
    test: ScoredSplit,
    train: ScoredSplit | None,
    config: EvaluationConfig,
    *,
    seconds_per_image: float | None = None,
    pixels: PixelCounts | None = None,
) -> Judged:
    """AP, classification AP and detections on `test`, CorLoc and error modes on `train`.

    Of a split whose boxes are unknown everything is left open but the detections and the classification AP.

    Args:
        test: the split on which AP is counted.
        train: the split on which CorLoc is counted; None: CorLoc and error modes are left open.
        config: protocol and thresholds.
        seconds_per_image: as the caller measured it, for the report.
        pixels: as counted on `test`; None: measures of pixels are left open.

    Raises:
        BadInput: COCO's figures are asked for and cannot be counted here.
        ValueError: scores are missing, or do not fit the proposals or the classes; the message names the image.
    """
    scores, proposals = _aligned(test)
    annotated, image_set = test.annotated, test.annotated.image_set
    detections = detections_by_protocol([record.image_id for record in image_set.records], scores, proposals, config)
    if config.rounded:
        detections = tuple(map(rounded, detections))
    num_classes = len(image_set.classes)
    class_aps = None
    if annotated.annotations is not None:
        matches = [
            match_detections(found, annotation, num_classes=num_classes, match_iou=config.match_iou)
            for found, annotation in zip(detections, annotated.annotations, strict=True)
        ]
        class_aps = average_precision(matches, num_classes=num_classes, flavour=config.ap)
    corloc: tuple[float | None, ...] = (None,) * num_classes
    error_modes = None
    if train is not None and train.annotated.annotations is not None:
        corloc, error_modes = _best_boxes_judged(train, train.annotated.annotations, config.match_iou)
    report = EvaluationReport(
        classes=image_set.classes,
        ap=(None,) * num_classes if class_aps is None else tuple(c.ap for c in class_aps),
        corloc=corloc,
        num_test_images=len(image_set.records),
        num_train_images=0 if train is None else len(train.annotated.image_set.records),
        seconds_per_image=seconds_per_image,
        error_modes=None if error_modes is None else tuple(c.shares for c in error_modes),
        classification_ap=classification_average_precision(annotated, scores, flavour=config.ap),
        without_boxes=_without_boxes(test, train),
        segmentation=None if pixels is None else pixels.segmentation_scores,
        heatmap=None if pixels is None else pixels.heatmap_scores,
        num_masks=0 if pixels is None else pixels.num_masks,
        coco=coco_figures(annotated, detections) if config.coco and class_aps is not None else None,
    )
    return Judged(report, detections, class_aps, error_modes)


def _without_boxes(test: ScoredSplit, train: ScoredSplit | None) -> tuple[Literal["test", "train"], ...]:
    is_open: dict[Literal["test", "train"], bool] = {
        "test": test.annotated.annotations is None,
        "train": train is not None and train.annotated.annotations is None,
    }
    return tuple(role for role, boxes_unknown in is_open.items() if boxes_unknown)


def _best_boxes_judged(
    train: ScoredSplit, annotations: Sequence[Annotation], match_iou: float
) -> tuple[tuple[float | None, ...], tuple[ClassErrorModes, ...]]:
    """CorLoc and error modes of every class."""
    scores, proposals = _aligned(train)
    judged = list(zip(scores, proposals, annotations, strict=True))
    num_classes = len(train.annotated.image_set.classes)
    corloc = correct_localization([localize(*image, match_iou=match_iou) for image in judged], num_classes=num_classes)
    modes = count_error_modes(
        [classify_best_boxes(*image, match_iou=match_iou) for image in judged], num_classes=num_classes
    )
    return tuple(c.corloc for c in corloc), modes


def _aligned(split: ScoredSplit) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Scores and proposals in the order of the split, checked against each other."""
    image_set, scores = split.annotated.image_set, split.scores
    aligned_scores, aligned_proposals = [], []
    for index, record in enumerate(image_set.records):
        if index not in scores:
            missing = len(image_set.records) - len(scores)
            raise ValueError(f"split {image_set.name}: no scores for image {record.image_id}, {missing} missing in all")
        boxes = split.proposals[record.image_id]
        expected = (len(boxes), len(image_set.classes))
        if scores[index].shape != expected:
            raise ValueError(
                f"image {record.image_id}: scores are {scores[index].shape}, its boxes and classes {expected}"
            )
        aligned_scores.append(scores[index])
        aligned_proposals.append(boxes)
    return aligned_scores, aligned_proposals
