"""Boxes of each class, where a network regresses them: every measure looks at those of its own class."""

import numpy as np
import pytest

from sdcn_core.evaluation.corloc import localize
from sdcn_core.evaluation.detections import select_detections, select_image_detections
from sdcn_core.evaluation.error_modes import classify_best_boxes
from sdcn_core.evaluation.pixel_metrics import detected_class
from sdcn_core.evaluation.scored_boxes import ScoredBoxes
from tests.sdcn_core.evaluation.made_up import FloatArray, annotation, random_boxes, random_scores

C = 3
LIMITS = {"nms_iou": 0.3, "boxes_per_class": 5, "boxes_per_image_cap": 4}


def regressed(rng: np.random.Generator, count: int) -> ScoredBoxes:
    boxes = np.stack([random_boxes(rng, count) for _ in range(C)], axis=1)  # (N, C, 4)
    return ScoredBoxes(random_scores(rng, count, C), boxes)


def class_by_class(found: ScoredBoxes, c: int) -> tuple[FloatArray, FloatArray]:
    """Scores with one column, and the boxes that belong to it."""
    return found.scores[:, [c]], found.boxes[:, c].astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_detections_of_a_class_are_those_of_its_own_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = [regressed(rng, n) for n in (1, 8, 20)]
    ids = ["a", "b", "c"]
    found = select_detections(ids, [i.scores for i in images], [i.boxes for i in images], **LIMITS)
    for c in range(C):
        alone = [class_by_class(image, c) for image in images]
        expected = select_detections(ids, [s for s, _ in alone], [b for _, b in alone], **LIMITS)
        for whole, of_class in zip(found, expected, strict=True):
            np.testing.assert_array_equal(whole.boxes[whole.classes == c], of_class.boxes)


@pytest.mark.parametrize("seed", range(5))
def test_detections_by_pcl_s_protocol_are_of_each_class_s_own_boxes_too(seed: int) -> None:
    found = regressed(np.random.default_rng(seed), 20)
    limits = {"score_threshold": 0.2, "nms_iou": 0.3, "boxes_per_image": 1000}
    whole = select_image_detections("a", found.scores, found.boxes, **limits)
    for c in range(C):
        of_class = select_image_detections("a", *class_by_class(found, c), **limits)
        np.testing.assert_array_equal(whole.boxes[whole.classes == c], of_class.boxes)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_box_of_a_class_and_the_heat_it_gives_are_of_its_own_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = regressed(rng, 9)
    for c in range(C):
        scores, boxes = class_by_class(found, c)
        own, alone = annotation([boxes[0]], [c]), annotation([boxes[0]], [0])
        there, here = (
            localize(found.scores, found.boxes, own, match_iou=0.5),
            localize(scores, boxes, alone, match_iou=0.5),
        )
        assert there.correct.tolist() == here.correct.tolist()
        modes = classify_best_boxes(found.scores, found.boxes, own, match_iou=0.5).modes
        assert modes.tolist() == classify_best_boxes(scores, boxes, alone, match_iou=0.5).modes.tolist()
        only = np.where(np.arange(C) == c, found.scores, 0)
        heat = detected_class(only, found.boxes.clip(max=12), height=12, width=12)
        expected = detected_class(scores, boxes.clip(max=12), height=12, width=12)
        np.testing.assert_array_equal(heat == c, expected == 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_shortlist_leads_to_the_same_detections_and_the_same_best_boxes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole = [regressed(rng, n) for n in (3, 40)]
    short = [one.shortlisted(5) for one in whole]
    assert [one.boxes.shape for one in short] == [(3, C, 4), (5, C, 4)]
    found = [
        select_detections(["a", "b"], [i.scores for i in s], [i.boxes for i in s], **LIMITS) for s in (whole, short)
    ]
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.scores, theirs.scores)
    truth = annotation(random_boxes(rng, C), range(C))
    said = [localize(one.scores, one.boxes, truth, match_iou=0.5).correct.tolist() for one in (whole[1], short[1])]
    assert said[0] == said[1]


def test_boxes_that_all_classes_share_are_kept_whole() -> None:
    rng = np.random.default_rng(0)
    shared = ScoredBoxes(random_scores(rng, 40, C), random_boxes(rng, 40))
    assert shared.shortlisted(5) is shared
