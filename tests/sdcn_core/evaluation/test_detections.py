import tracemalloc

import numpy as np
import pytest

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.evaluation.detections import detections_by_protocol, select_detections, select_image_detections
from sdcn_core.structures.annotation import Detections
from tests.sdcn_core.evaluation import devkit
from tests.sdcn_core.evaluation.made_up import FloatArray, random_boxes, random_scores

ROW_OF_BOXES = np.array([[20 * i, 0, 20 * i + 10, 10] for i in range(6)], dtype=np.float32)


@pytest.mark.parametrize("num_classes", [1, 2])
@pytest.mark.parametrize("seed", range(10))
def test_selection_equals_its_slow_twin(seed: int, num_classes: int) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 30, 6)
    boxes = [random_boxes(rng, n, side=30) for n in counts]
    scores = [random_scores(rng, n, num_classes) for n in counts]
    ids = [f"im{k}" for k in range(6)]
    found = select_detections(ids, scores, boxes, nms_iou=0.3, boxes_per_class=10, boxes_per_image_cap=5)
    for c in range(num_classes):
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


def of_image(scores: object, boxes: object = ROW_OF_BOXES, **settings: float) -> Detections:
    """By PCL's protocol."""
    limits = {"score_threshold": 1e-5, "nms_iou": 0.3, "boxes_per_image": 100} | settings
    values = np.array(scores, dtype=np.float32)
    return select_image_detections("a", values, np.array(boxes, dtype=np.float32), **limits)  # type: ignore[arg-type]


@pytest.mark.parametrize("first_pairs", [1, 16, 512])
@pytest.mark.parametrize("num_classes", [1, 3])
@pytest.mark.parametrize("seed", range(10))
def test_selection_by_image_equals_its_slow_twin_however_many_are_looked_at_first(
    seed: int, num_classes: int, first_pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdcn_core.evaluation.detections._FIRST_PAIRS", first_pairs)
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, 40, side=30), random_scores(rng, 40, num_classes)
    limits = {"score_threshold": float(rng.choice([0.0, 0.5, 0.9])), "boxes_per_image": int(rng.choice([1, 7, 500]))}
    found = of_image(scores, boxes, **limits)
    kept = devkit.select_of_image(
        scores.tolist(),
        boxes.tolist(),
        threshold=limits["score_threshold"],
        iou=0.3,
        limit=int(limits["boxes_per_image"]),
    )
    assert found.classes.tolist() == [c for c, rows in enumerate(kept) for _ in rows]
    np.testing.assert_array_equal(found.boxes, boxes[[i for rows in kept for i in rows]])
    np.testing.assert_array_equal(found.scores, [scores[i, c] for c, rows in enumerate(kept) for i in rows])


def test_equals_of_the_last_kept_box_of_an_image_stay_too() -> None:
    scores = [[0.9, 0.5], [0.5, 0.1], [0.5, 0.4]]
    assert len(of_image(scores, ROW_OF_BOXES[:3], boxes_per_image=2).scores) == 4


def test_a_score_at_the_threshold_takes_no_part() -> None:
    threshold = float(np.float32(0.5))
    found = of_image([[0.5], [0.6]], ROW_OF_BOXES[:2], score_threshold=threshold)
    assert found.boxes.tolist() == [ROW_OF_BOXES[1].tolist()]


@pytest.mark.parametrize("scores", [np.zeros((6, 2)), np.zeros((0, 2))], ids=["no score above", "no proposals"])
def test_an_image_without_a_score_above_the_threshold_has_no_detections(scores: FloatArray) -> None:
    found = of_image(scores, ROW_OF_BOXES[: len(scores)])
    assert (found.boxes.shape, found.scores.shape, found.classes.dtype) == ((0, 4), (0,), np.int64)


def test_the_protocol_is_chosen_by_the_config() -> None:
    scores = [np.array([[0.9, 1e-6], [0.8, 0.7]], np.float32)]
    boxes = [ROW_OF_BOXES[:2]]

    def count(**fields: object) -> int:
        config = EvaluationConfig.model_validate(fields)
        return len(detections_by_protocol(["a"], scores, boxes, config)[0].scores)

    assert count() == 4
    assert count(protocol="oicr", boxes_per_class=1) == 2
    assert count(protocol="pcl", boxes_per_class=1) == 3
    assert count(protocol="pcl", pcl={"boxes_per_image": 1}) == 1
    assert count(protocol="pcl", pcl={"score_threshold": 0.75}) == 2
    assert count(protocol="pcl", pcl={"nms_iou": 1e-9}) == 3
