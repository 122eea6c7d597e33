import numpy as np
import pytest

from sdcn_core.evaluation.corloc import correct_localization, localize
from sdcn_core.evaluation.error_modes import (
    MODES,
    ErrorMode,
    classify_best_boxes,
    count_error_modes,
    mean_shares,
    shares_by_mode,
)
from tests.sdcn_core.evaluation import devkit
from tests.sdcn_core.evaluation.made_up import annotation, random_boxes, random_scores

OBJECT = [10, 10, 30, 30]


def mode_of(box: object, objects: object = (OBJECT,), classes: object = (0,)) -> ErrorMode:
    """The case of the best box of class 0."""
    best = np.array([box], np.float32)
    said = classify_best_boxes(np.ones((1, 2)), best, annotation(objects, classes), match_iou=0.5)
    return MODES[said.modes[said.classes.tolist().index(0)]]


@pytest.mark.parametrize(
    ("box", "mode"),
    [
        (OBJECT, ErrorMode.CORRECT),
        ([10, 10, 30, 21], ErrorMode.CORRECT),
        ([10, 10, 30, 20], ErrorMode.INSIDE),
        ([12, 12, 18, 18], ErrorMode.INSIDE),
        ([10, 10, 30, 50], ErrorMode.CONTAINS),
        ([0, 0, 90, 90], ErrorMode.CONTAINS),
        ([20, 20, 60, 60], ErrorMode.OVERLAP),
        ([30, 10, 50, 30], ErrorMode.NONE),
        ([20, 20, 20, 20], ErrorMode.NONE),
    ],
    ids=["equal", "over half", "exactly half", "part", "twice", "all around", "corner", "edges touch", "no area"],
)
def test_each_case_of_figure_6(box: list[int], mode: ErrorMode) -> None:
    assert mode_of(box) is mode


def test_the_first_case_that_any_object_makes_true_counts() -> None:
    inside_one_and_correct_on_the_other = [[0, 0, 90, 90], [10, 10, 32, 32]]
    assert mode_of(OBJECT, inside_one_and_correct_on_the_other, [0, 0]) is ErrorMode.CORRECT
    contains_one_and_inside_the_other = [[12, 12, 14, 14], [0, 0, 90, 90]]
    assert mode_of(OBJECT, contains_one_and_inside_the_other, [0, 0]) is ErrorMode.INSIDE


def test_an_object_of_another_class_is_not_there() -> None:
    assert mode_of(OBJECT, [OBJECT, [60, 60, 70, 70]], [1, 0]) is ErrorMode.NONE


def test_a_class_in_no_image_and_a_split_without_images_have_no_shares() -> None:
    said = classify_best_boxes(np.ones((1, 2)), np.array([OBJECT]), annotation([], []), match_iou=0.5)
    assert [c.shares for c in count_error_modes([said], num_classes=2)] == [None, None]
    assert [c.num_images for c in count_error_modes([], num_classes=2)] == [0, 0]
    assert mean_shares([None, None]) is None
    assert shares_by_mode(None) is None


@pytest.mark.parametrize("seed", range(10))
def test_modes_of_random_splits_equal_a_slow_twin_and_the_first_is_corloc(seed: int) -> None:
    rng = np.random.default_rng(seed)
    counts = [[0] * 5 for _ in range(3)]
    said, localized = [], []
    for n in rng.integers(0, 5, 200):
        truth = annotation(random_boxes(rng, n), rng.integers(0, 3, n), rng.random(n) < 0.3)
        proposals, scores = random_boxes(rng, 8), random_scores(rng, 8, 3)
        said.append(classify_best_boxes(scores, proposals, truth, match_iou=0.5))
        localized.append(localize(scores, proposals, truth, match_iou=0.5))
        for c in range(3):
            objects = [box.tolist() for box, label in zip(truth.boxes, truth.classes, strict=True) if label == c]
            if objects:
                top = max(range(8), key=lambda i: scores[i, c])
                counts[c][devkit.error_mode(proposals[top].tolist(), objects)] += 1
    results = count_error_modes(said, num_classes=3)
    assert [list(result.counts) for result in results] == counts
    assert min(map(sum, zip(*counts, strict=True))) > 0, "every case occurs"
    corloc = correct_localization(localized, num_classes=3)
    assert [r.shares and r.shares[0] for r in results] == [c.corloc for c in corloc]
    assert all(sum(r.shares or (1.0,)) == pytest.approx(1.0) for r in results)
