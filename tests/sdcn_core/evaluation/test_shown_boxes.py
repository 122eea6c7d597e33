from itertools import permutations

import numpy as np
import pytest

from sdcn_core.evaluation.shown_boxes import above, agreement, detection_threshold, matched_overlaps
from tests.sdcn_core.evaluation import devkit
from tests.sdcn_core.evaluation.made_up import annotation, detections, random_boxes

BOX, HALF, FAR = [0, 0, 10, 10], [0, 0, 10, 5], [50, 50, 60, 60]
TWO_CATS = annotation([BOX, FAR], [0, 0])


def test_from_the_threshold_on_a_split_has_as_many_detections_as_objects() -> None:
    found = [detections([BOX] * 3, [0.9, 0.5, 0.1], [0] * 3), detections([BOX], [0.3], [0])]
    assert detection_threshold(found, [TWO_CATS, annotation([BOX], [0])]) == pytest.approx(0.3)


def test_without_objects_there_are_as_many_as_images_and_without_detections_none() -> None:
    found = [detections([BOX] * 3, [0.9, 0.5, 0.1], [0] * 3)] * 2
    assert detection_threshold(found, [annotation([], [])] * 2) == pytest.approx(0.9)
    assert detection_threshold([detections([], [], [])], [TWO_CATS]) == float("inf")
    assert detection_threshold([], []) == float("inf")


def test_boxes_above_a_threshold_come_best_first_and_not_too_many_nor_too_few() -> None:
    found = detections([BOX, HALF, FAR], [0.2, 0.9, 0.5], [0, 1, 0])
    assert above(found, 0.5, most=6).scores.tolist() == pytest.approx([0.9, 0.5])
    assert above(found, 0.1, most=1).boxes.tolist() == [HALF]
    assert above(found, 0.95, most=6).boxes.tolist() == []
    assert above(found, 0.95, least=1, most=6).boxes.tolist() == [HALF]
    assert above(detections([], [], []), 0.5, least=1, most=6).boxes.tolist() == []


def test_agreement_falls_with_misses_false_alarms_and_bad_fits() -> None:
    assert agreement(detections([BOX, FAR], [0.9, 0.8], [0, 0]), TWO_CATS) == 1.0
    assert agreement(detections([BOX], [0.9], [0]), TWO_CATS) == pytest.approx(2 / 3)
    assert agreement(detections([BOX, FAR, FAR], [0.9, 0.8, 0.7], [0, 0, 0]), TWO_CATS) == pytest.approx(4 / 5)
    assert agreement(detections([HALF, FAR], [0.9, 0.8], [0, 0]), TWO_CATS) == pytest.approx(0.75)
    assert agreement(detections([BOX, FAR], [0.9, 0.8], [1, 1]), TWO_CATS) == 0.0


def test_nothing_found_where_nothing_is_agrees_and_a_false_alarm_does_not() -> None:
    nothing = annotation([], [])
    assert agreement(detections([], [], []), nothing) == 1.0
    assert agreement(detections([BOX], [0.9], [0]), nothing) == 0.0
    assert agreement(detections([], [], []), TWO_CATS) == 0.0


@pytest.mark.parametrize("seed", range(10))
def test_matches_have_the_largest_sum_that_one_to_one_pairs_can_have(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, objects = random_boxes(rng, 4), random_boxes(rng, 4)
    overlaps = [[devkit.overlap(a.tolist(), b.tolist()) for b in objects] for a in boxes]
    best = max(sum(overlaps[i][j] for i, j in enumerate(order)) for order in permutations(range(4)))
    matched = matched_overlaps(detections(boxes, [0.5] * 4, [0] * 4), annotation(objects, [0] * 4))
    assert matched.sum() == pytest.approx(best)
