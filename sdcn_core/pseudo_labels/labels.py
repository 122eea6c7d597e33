"""Pseudo labels of a training split: found once by a trained detector, kept in one file.

N proposals of an image, C classes, M boxes of all images together, n images.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.config.second_stage import PseudoLabelConfig
from sdcn_core.data.image_set import ImageSet
from sdcn_core.data.images import read_image
from sdcn_core.errors import BadInput, WeightsError
from sdcn_core.evaluation.evaluator import ProposalSource
from sdcn_core.evaluation.inference import Scorer, score_proposals
from sdcn_core.evaluation.nms import non_maximum_suppression
from sdcn_core.evaluation.scored_boxes import ScoredBoxes, boxes_at
from sdcn_core.structures.pseudo_boxes import PseudoBoxes


@dataclass(frozen=True)
class PseudoLabels:
    """What a detector takes the objects of some training images to be."""

    classes: tuple[str, ...]
    """class index -> name"""
    model_sha256: str
    """of the detector's file"""
    config: PseudoLabelConfig
    """by which boxes were chosen"""
    images: Mapping[str, PseudoBoxes]
    """image id -> its boxes, in the order of the split; an image without a positive class has none"""

    @property
    def num_boxes(self) -> int:
        return sum(map(len, self.images.values()))

    @property
    def num_without(self) -> int:
        """Images that say nothing, because they have no box."""
        return sum(len(boxes) == 0 for boxes in self.images.values())

    def boxes_by_class(self) -> tuple[int, ...]:
        """(C,) how many boxes each class has."""
        counts = np.zeros(len(self.classes), np.int64)
        for boxes in self.images.values():
            np.add.at(counts, boxes.classes, 1)
        return tuple(counts.tolist())


def mine_pseudo_boxes(
    found: ScoredBoxes, positive: Sequence[int], config: PseudoLabelConfig, *, nms_iou: float
) -> PseudoBoxes:
    """The best boxes of the classes that an image is known to show (OICR's pseudo ground truth).

    Args:
        found: scores, and boxes, of the image's proposals.
        positive: indices of its classes, ascending; may be empty.
        config: how many, and from which score on.
        nms_iou: of several boxes of a class, one that a better one overlaps by this or more is left out.

    Returns:
        By class, best first; of boxes that score the same the first is the better one.
    """
    chosen = [PseudoBoxes.none()]
    for c in positive:
        boxes, scores = boxes_at(found.boxes, slice(None), c), found.scores[:, c]
        sound = ((boxes[:, 2:] > boxes[:, :2]).all(axis=1)) & (scores >= config.min_score)  # a moved box may be empty
        boxes, scores = boxes[sound], scores[sound]
        if config.boxes_per_class == 1:
            best = np.array([scores.argmax()] if len(scores) else [], np.int64)
        else:
            best = non_maximum_suppression(boxes, scores, iou=nms_iou)[: config.boxes_per_class]
        chosen.append(
            PseudoBoxes(
                boxes[best].astype(np.float32), np.full(len(best), c, np.int64), scores[best].astype(np.float32)
            )
        )
    return PseudoBoxes(
        np.concatenate([one.boxes for one in chosen]),
        np.concatenate([one.classes for one in chosen]),
        np.concatenate([one.scores for one in chosen]),
    )


def find_pseudo_boxes(
    scorer: Scorer,
    image_set: ImageSet,
    proposals: ProposalSource,
    config: PseudoLabelConfig,
    *,
    testing: EvaluationConfig,
    max_side_px: int,
    known: Mapping[str, PseudoBoxes],
    keep: Callable[[Mapping[str, PseudoBoxes]], None],
    should_stop: Callable[[], bool],
) -> dict[str, PseudoBoxes] | None:
    """Mine the boxes of every image of a training split, over all of the detector's test scales and mirror images.

    Args:
        scorer: the detector, in evaluation mode.
        image_set: the split, with image labels.
        proposals: by image id.
        config: which boxes are taken.
        testing: scales and mirror images, and the overlap of suppression.
        max_side_px: see `score_proposals`.
        known: what an earlier call has found, and this one need not.
        keep: told, at first and after each image, of all that is found so far.
        should_stop: asked before each image.

    Returns:
        By image id, in the order of the split; None where somebody asked to stop.

    Raises:
        DatasetError: an image cannot be read; the message names the file.
        WeightsError: a score is not finite; the message names the image.
    """
    found: dict[str, PseudoBoxes] = {}
    for record in image_set.records:
        if record.image_id in known:
            found[record.image_id] = known[record.image_id]
    keep(found)
    for record in image_set.records:
        if record.image_id in found:
            continue
        if should_stop():
            return None
        boxes = PseudoBoxes.none()
        if record.labels:  # an image without a class of ours need not be looked at
            scored = score_proposals(
                scorer, read_image(record.path), proposals[record.image_id], config=testing, max_side_px=max_side_px
            )
            if not (np.isfinite(scored.scores).all() and np.isfinite(scored.boxes).all()):
                raise WeightsError(
                    f"image {record.image_id}: the detector's scores are not finite; its weights are spoilt: train it"
                    " again with a lower learning rate or with clip_norm"
                )
            boxes = mine_pseudo_boxes(scored, record.labels, config, nms_iou=testing.nms_iou)
        found[record.image_id] = boxes
        keep(found)
    return {record.image_id: found[record.image_id] for record in image_set.records}


def check_pseudo_labels(labels: PseudoLabels) -> None:
    """Refuse labels from which nothing can be learnt.

    Raises:
        BadInput: no image has a box, or a class has none at all; the message says what to change.
    """
    missing = [name for name, count in zip(labels.classes, labels.boxes_by_class(), strict=True) if count == 0]
    if missing:
        raise BadInput(
            f"no pseudo label of class {', '.join(missing)} scores {labels.config.min_score:g} or more: lower"
            " second_stage.labels.min_score"
        )


def save_pseudo_labels(labels: PseudoLabels, path: Path) -> None:
    """Write the file, whole or not at all: an archive of NumPy arrays without pickles; `path` ends in .npz.

    Arrays: `classes` (C,) names, `model_sha256` () and `config` () texts, `image_ids` (n,); `boxes` (M, 4) xyxy px
    half-open, `labels` (M,) and `scores` (M,), those of image i from `offsets[i]` to `offsets[i + 1]`.
    """
    nothing = PseudoBoxes.none()
    images = [nothing, *labels.images.values()]
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.npz")
    np.savez_compressed(
        partial,
        classes=np.array(labels.classes, dtype=np.str_),
        model_sha256=np.array(labels.model_sha256),
        config=np.array(labels.config.model_dump_json()),
        image_ids=np.array(list(labels.images), dtype=np.str_),
        boxes=np.concatenate([one.boxes for one in images]),
        labels=np.concatenate([one.classes for one in images]),
        scores=np.concatenate([one.scores for one in images]),
        offsets=np.cumsum([len(one) for one in images], dtype=np.int64),
    )
    partial.replace(path)


def load_pseudo_labels(path: Path) -> PseudoLabels:
    """What `save_pseudo_labels` wrote.

    Raises:
        BadInput: the file is missing, broken or something else; the message names it.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            boxes, classes, scores = arrays["boxes"], arrays["labels"], arrays["scores"]
            offsets = arrays["offsets"]
            _check_arrays(boxes, classes, scores, num_classes=len(arrays["classes"]))
            images = {
                image_id: PseudoBoxes(boxes[start:end], classes[start:end], scores[start:end])
                for image_id, start, end in zip(arrays["image_ids"].tolist(), offsets[:-1], offsets[1:], strict=True)
            }
            return PseudoLabels(
                tuple(arrays["classes"].tolist()),
                str(arrays["model_sha256"]),
                PseudoLabelConfig.model_validate_json(str(arrays["config"])),
                images,
            )
    except Exception as error:  # whatever zipfile, zlib, NumPy and pydantic stumble over, the file is at fault
        raise BadInput(f"pseudo labels {path} cannot be read ({error}): find them again") from error


def _check_arrays(
    boxes: NDArray[np.float32], classes: NDArray[np.int64], scores: NDArray[np.float32], *, num_classes: int
) -> None:
    if boxes.dtype != np.float32 or boxes.shape != (len(classes), 4) or scores.shape != classes.shape:
        raise ValueError("boxes, labels and scores do not belong together")
    if not np.isfinite(boxes).all() or not (boxes[:, 2:] > boxes[:, :2]).all():
        raise ValueError("a box is empty or not finite")
    if len(classes) and (classes.min() < 0 or classes.max() >= num_classes):
        raise ValueError("a label is no class")
