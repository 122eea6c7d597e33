import numpy as np
import pytest

from sdcn_core.evaluation.average_precision import ClassAP, average_precision, match_detections
from sdcn_core.structures.annotation import Annotation, Detections
from tests.sdcn_core.evaluation import devkit
from tests.sdcn_core.evaluation.made_up import annotation, detections, random_boxes, random_scores

TWINS = {"voc07_11point": devkit.eleven_point, "area": devkit.area}
BOX = [0, 0, 10, 10]


def ap_of(found: Detections, truth: Annotation, flavour: str = "area", num_classes: int = 1) -> ClassAP:
    matches = match_detections(found, truth, num_classes=num_classes, match_iou=0.5)
    return average_precision([matches], num_classes=num_classes, flavour=flavour)[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("flavour", ["voc07_11point", "area"])
@pytest.mark.parametrize("seed", range(10))
def test_ap_of_random_splits_equals_its_slow_twin(flavour: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    num_images, num_classes = 12, 3
    truths = [
        annotation(random_boxes(rng, n), rng.integers(0, num_classes, n), rng.random(n) < 0.2)
        for n in rng.integers(0, 6, num_images)
    ]
    found = [
        detections(
            np.concatenate([t.boxes, random_boxes(rng, 9)]),
            random_scores(rng, len(t.boxes) + 9),
            rng.integers(0, num_classes, len(t.boxes) + 9),
        )
        for t in truths
    ]
    matches = [
        match_detections(f, t, num_classes=num_classes, match_iou=0.5) for f, t in zip(found, truths, strict=True)
    ]
    results = average_precision(matches, num_classes=num_classes, flavour=flavour)  # type: ignore[arg-type]
    for c, result in enumerate(results):
        flat = [
            (k, float(f.scores[i]), f.boxes[i].tolist())
            for k, f in enumerate(found)
            for i in np.flatnonzero(f.classes == c)
        ]
        objects = [
            [(t.boxes[j].tolist(), bool(t.difficult[j])) for j in np.flatnonzero(t.classes == c)] for t in truths
        ]
        precision, recall = devkit.precision_recall(flat, objects, 0.5)
        np.testing.assert_allclose(result.precision, precision, atol=1e-12)
        np.testing.assert_allclose(result.recall, recall, atol=1e-12)
        assert result.ap == pytest.approx(TWINS[flavour](precision, recall), abs=1e-12)


def test_a_class_without_objects_has_no_ap() -> None:
    result = ap_of(detections([BOX], [0.9], [1]), annotation([BOX], [0]), num_classes=2)
    assert result.ap == 0.0
    found = match_detections(detections([BOX], [0.9], [1]), annotation([BOX], [0]), num_classes=2, match_iou=0.5)
    assert average_precision([found], num_classes=2, flavour="area")[1].ap is None


def test_a_class_whose_objects_are_all_difficult_has_no_ap() -> None:
    assert ap_of(detections([BOX], [0.9], [0]), annotation([BOX], [0], [True])).ap is None


@pytest.mark.parametrize("flavour", ["voc07_11point", "area"])
def test_objects_without_any_detection_have_ap_zero(flavour: str) -> None:
    assert ap_of(detections([], [], []), annotation([BOX], [0]), flavour).ap == 0.0


def test_a_split_without_images_has_no_ap() -> None:
    assert [c.ap for c in average_precision([], num_classes=2, flavour="area")] == [None, None]


def test_a_detection_on_an_image_without_objects_is_a_false_alarm() -> None:
    images = [
        match_detections(f, t, num_classes=1, match_iou=0.5)
        for f, t in [
            (detections([BOX], [0.9], [0]), annotation([], [])),
            (detections([BOX], [0.8], [0]), annotation([BOX], [0])),
        ]
    ]
    assert average_precision(images, num_classes=1, flavour="area")[0].ap == 0.5


def test_a_second_detection_of_the_same_object_is_a_false_alarm() -> None:
    truth = annotation([BOX, [50, 50, 60, 60]], [0, 0])
    found = detections([BOX, BOX, [50, 50, 60, 60]], [0.9, 0.8, 0.7], [0, 0, 0])
    assert ap_of(found, truth).precision.tolist() == [1.0, 0.5, 2 / 3]


def test_a_detection_does_not_turn_to_its_second_best_object_when_the_best_is_taken() -> None:
    truth = annotation([[0, 0, 10, 10], [0, 0, 10, 9]], [0, 0])
    found = detections([[0, 0, 10, 10], [0, 0, 10, 10]], [0.9, 0.8], [0, 0])
    assert ap_of(found, truth).recall.tolist() == [0.5, 0.5]


def test_a_difficult_object_is_neither_a_miss_nor_a_false_alarm() -> None:
    truth = annotation([BOX, [50, 50, 60, 60]], [0, 0], [True, False])
    unseen = detections([[50, 50, 60, 60]], [0.5], [0])
    seen_twice = detections([BOX, BOX, [50, 50, 60, 60]], [0.9, 0.8, 0.5], [0, 0, 0])
    assert ap_of(unseen, truth).ap == 1.0
    assert ap_of(seen_twice, truth).ap == 1.0
    assert ap_of(seen_twice, truth).num_objects == 1


def test_an_overlap_of_exactly_one_half_is_not_a_match() -> None:
    truth = annotation([[0, 0, 10, 10]], [0])
    assert ap_of(detections([[0, 0, 10, 5]], [0.9], [0]), truth).ap == 0.0
    assert ap_of(detections([[0, 0, 10, 5.01]], [0.9], [0]), truth).ap == 1.0


def test_an_object_of_another_class_is_no_match() -> None:
    assert ap_of(detections([BOX], [0.9], [0]), annotation([BOX, [50, 50, 60, 60]], [1, 0]), num_classes=2).ap == 0.0


def test_among_equal_scores_the_earlier_image_counts_as_better() -> None:
    right = match_detections(detections([BOX], [0.5], [0]), annotation([BOX], [0]), num_classes=1, match_iou=0.5)
    wrong = match_detections(detections([BOX], [0.5], [0]), annotation([], []), num_classes=1, match_iou=0.5)
    assert average_precision([right, wrong], num_classes=1, flavour="area")[0].ap == 1.0
    assert average_precision([wrong, right], num_classes=1, flavour="area")[0].ap == 0.5


@pytest.mark.parametrize(
    ("found", "points"), [(1, 2), (2, 3), (3, 3), (4, 5), (5, 6), (6, 6), (7, 7), (8, 9), (10, 11)]
)
def test_three_six_and_seven_of_ten_objects_miss_their_recall_by_the_last_bit_as_in_voc_eval(
    found: int, points: int
) -> None:
    boxes = [[20 * i, 0, 20 * i + 10, 10] for i in range(10)]
    best = detections(boxes[:found], [0.9] * found, [0] * found)
    assert ap_of(best, annotation(boxes, [0] * 10), "voc07_11point").ap == pytest.approx(points / 11)
