import tracemalloc

import numpy as np
import pytest

from sdcn_core.evaluation.detections import select_detections
from tests.sdcn_core.evaluation import devkit
from tests.sdcn_core.evaluation.made_up import random_boxes, random_scores

ROW_OF_BOXES = np.array([[20 * i, 0, 20 * i + 10, 10] for i in range(6)], dtype=np.float32)


@pytest.mark.parametrize("seed", range(10))
def test_selection_equals_its_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 30, 6)
    boxes = [random_boxes(rng, n, side=30) for n in counts]
    scores = [random_scores(rng, n, 2) for n in counts]
    ids = [f"im{k}" for k in range(6)]
    found = select_detections(ids, scores, boxes, nms_iou=0.3, boxes_per_class=10, boxes_per_image_cap=5)
    for c in range(2):
        kept = devkit.select([s[:, c].tolist() for s in scores], [b.tolist() for b in boxes], iou=0.3, limit=10, cap=30)
        for k, rows in enumerate(kept):
            mine = found[k].classes == c
            np.testing.assert_array_equal(found[k].boxes[mine], boxes[k][rows])
            np.testing.assert_array_equal(found[k].scores[mine], scores[k][rows, c])


def test_only_the_best_of_a_class_enter_suppression() -> None:
    near_copies = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]], dtype=np.float32)
    scores = np.array([[0.9], [0.8], [0.7]], dtype=np.float32)
    (found,) = select_detections(["a"], [scores], [near_copies], nms_iou=0.3, boxes_per_class=2, boxes_per_image_cap=40)
    assert found.boxes.tolist() == [[0, 0, 10, 10]]


def test_the_cap_over_the_split_drops_its_own_score_and_all_below() -> None:
    scores = [np.array([[0.9], [0.8], [0.7]], dtype=np.float32), np.array([[0.6], [0.5], [0.4]], dtype=np.float32)]
    boxes = [ROW_OF_BOXES[:3], ROW_OF_BOXES[3:]]
    found = select_detections(["a", "b"], scores, boxes, nms_iou=0.3, boxes_per_class=100, boxes_per_image_cap=2)
    assert [len(f.boxes) for f in found] == [3, 0]


def test_nothing_is_dropped_below_the_cap_however_small_its_score() -> None:
    (found,) = select_detections(
        ["a"], [np.zeros((6, 1), np.float32)], [ROW_OF_BOXES], nms_iou=0.3, boxes_per_class=6, boxes_per_image_cap=6
    )
    assert len(found.boxes) == 6


def test_detections_come_by_class_and_best_first() -> None:
    scores = np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]], dtype=np.float32)
    (found,) = select_detections(
        ["a"], [scores], [ROW_OF_BOXES[:3]], nms_iou=0.3, boxes_per_class=100, boxes_per_image_cap=40
    )
    assert found.image_id == "a"
    assert found.classes.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.scores.tolist() == pytest.approx([0.3, 0.2, 0.1, 0.9, 0.8, 0.7])


def test_a_split_without_images_has_no_detections() -> None:
    assert select_detections([], [], [], nms_iou=0.3, boxes_per_class=100, boxes_per_image_cap=40) == ()


def test_memory_grows_with_what_is_listed_and_not_with_the_proposals() -> None:
    scores = np.random.default_rng(0).random((20_000, 4), dtype=np.float32)
    boxes = np.tile(ROW_OF_BOXES, (3334, 1))[: len(scores)]
    order_bytes = scores.size * 8
    tracemalloc.start()
    select_detections(
        list("abcdefghij"), [scores] * 10, [boxes] * 10, nms_iou=0.3, boxes_per_class=5, boxes_per_image_cap=5
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * order_bytes
