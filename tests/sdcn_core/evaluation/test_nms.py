import numpy as np
import pytest

from sdcn_core.evaluation.nms import Survivors, fastest_survivors, non_maximum_suppression, survivors_by_blocks
from tests.sdcn_core.evaluation import devkit
from tests.sdcn_core.evaluation.made_up import random_boxes, random_scores


@pytest.mark.parametrize("form", [fastest_survivors(), survivors_by_blocks], ids=["fastest", "numpy"])
@pytest.mark.parametrize("seed", range(20))
def test_suppression_equals_its_slow_twin_with_ties_and_overlaps_at_the_threshold(seed: int, form: Survivors) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 400))
    boxes, scores = random_boxes(rng, count, side=40), random_scores(rng, count)
    for iou in (0.25, 0.3, 0.5, 1.0):
        kept = non_maximum_suppression(boxes, scores, iou=iou, survivors=form)
        assert kept.tolist() == devkit.suppress(boxes.tolist(), scores.tolist(), iou)


@pytest.mark.parametrize("side", [40, 400])
@pytest.mark.parametrize("seed", range(5))
def test_both_forms_keep_the_same_boxes_where_edges_are_no_whole_pixels_and_some_have_no_area(
    seed: int, side: int
) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.random((500, 2, 2)) * side
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
    boxes[::50, 2:] = boxes[::50, :2]
    scores = rng.random(500)
    for iou in (0.05, 0.3, 0.7):
        by_form = [
            non_maximum_suppression(boxes, scores, iou=iou, survivors=form)
            for form in (fastest_survivors(), survivors_by_blocks)
        ]
        assert by_form[0].tolist() == by_form[1].tolist()


def test_numba_compiles_the_loops_where_it_is_installed() -> None:
    pytest.importorskip("numba")
    assert fastest_survivors() is not survivors_by_blocks


def test_an_overlap_of_exactly_the_threshold_is_suppressed() -> None:
    boxes = np.array([[0, 0, 10, 13], [0, 10, 10, 20]], dtype=np.float32)  # 30 of 200
    assert non_maximum_suppression(boxes, np.array([0.9, 0.8]), iou=0.15).tolist() == [0]
    assert non_maximum_suppression(boxes, np.array([0.9, 0.8]), iou=0.1501).tolist() == [0, 1]


def test_a_suppressed_box_suppresses_nothing() -> None:
    chain = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], dtype=np.float32)
    assert non_maximum_suppression(chain, np.array([0.9, 0.8, 0.7]), iou=0.3).tolist() == [0, 2]


def test_of_equal_boxes_with_equal_scores_the_first_stays() -> None:
    twice = np.array([[0, 0, 5, 5], [0, 0, 5, 5]], dtype=np.float32)
    assert non_maximum_suppression(twice, np.array([0.5, 0.5]), iou=0.3).tolist() == [0]


def test_no_boxes_leave_no_boxes() -> None:
    assert non_maximum_suppression(np.zeros((0, 4)), np.zeros(0), iou=0.3).tolist() == []
