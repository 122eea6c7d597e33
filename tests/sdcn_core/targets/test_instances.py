import numpy as np
import pytest
import torch

from sdcn_core.targets.instances import InstanceLabels, mine_instances
from tests.reference.arithmetic import Array
from tests.reference.cases import Case, every_case
from tests.reference.detection_branch import eq_4_kappa


def mined(scores: Array, boxes: Array, labels: Array, *, ignored_below_iou: float = 0.0) -> InstanceLabels:
    return mine_instances(
        *map(torch.from_numpy, (scores, boxes, labels)), foreground_iou=0.5, ignored_below_iou=ignored_below_iou
    )


def assert_as_in_oicr(scores: Array, boxes: Array, labels: Array) -> None:
    found = mined(scores, boxes, labels)
    chosen, weights = eq_4_kappa(scores, boxes, labels, 0.5)
    np.testing.assert_array_equal(found.labels.numpy(), chosen)
    np.testing.assert_array_equal(found.weights.numpy(), weights)


@every_case
def test_labels_and_weights_are_oicrs(case: Case) -> None:
    assert_as_in_oicr(case.midn, case.boxes, case.labels)


@pytest.mark.parametrize("seed", range(200))
def test_labels_and_weights_are_oicrs_among_ties_and_overlapping_seeds(seed: int) -> None:
    random = np.random.default_rng(seed)
    count, classes = int(random.integers(1, 15)), int(random.integers(1, 6))
    corner = random.integers(0, 3, (count, 2)) * 2.0  # few places and sizes: many equal boxes and IoUs of exactly 0.5
    boxes = np.concatenate([corner, corner + random.integers(1, 4, (count, 2)) * 2], axis=1)
    scores = random.integers(0, 3, (count, classes)) / 4.0  # few scores: most are tied
    labels = random.integers(0, 2, classes).astype(np.float64)
    assert_as_in_oicr(scores, boxes, labels)


@every_case
@pytest.mark.parametrize("ignored_below_iou", [0.1, 0.5])
def test_what_hardly_touches_a_seed_is_ignored_as_in_pcl(case: Case, ignored_below_iou: float) -> None:
    found = mined(case.midn, case.boxes, case.labels, ignored_below_iou=ignored_below_iou)
    chosen, weights = eq_4_kappa(case.midn, case.boxes, case.labels, 0.5, ignored_below_iou)
    np.testing.assert_array_equal(found.labels.numpy(), chosen)
    np.testing.assert_array_equal(found.weights.numpy(), weights)


def test_an_overlap_as_large_as_the_limit_is_background_and_a_smaller_one_is_ignored() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 2], [0, 0, 10, 1], [50, 50, 60, 60]])
    found = mined(np.array([[0.9], [0.0], [0.0], [0.0]]), boxes, np.ones(1), ignored_below_iou=0.2)
    assert found.labels.tolist() == [0, 1, 1, 1]
    assert found.weights.tolist() == [0.9, 0.9, 0, 0]


def test_a_proposal_is_the_seed_of_one_class_only() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    found = mined(np.array([[0.9, 0.8], [0.1, 0.2]]), boxes, np.ones(2))
    assert found.labels.tolist() == [0, 1]
    assert found.weights.tolist() == [0.9, 0.2]


def test_in_a_tie_the_first_proposal_is_the_seed() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [50, 50, 60, 60]])
    assert mined(np.array([[0.4], [0.4]]), boxes, np.ones(1)).labels.tolist() == [0, 1]


def test_between_equally_overlapping_seeds_the_lower_class_wins() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 10]])
    found = mined(np.array([[0.1, 0.7], [0.6, 0.2], [0.3, 0.1]]), boxes, np.ones(2))
    assert found.labels.tolist() == [0, 0, 0]
    assert found.weights.tolist() == [0.6, 0.6, 0.6]


def test_a_proposal_that_touches_no_seed_is_background_with_the_first_seeds_weight() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30], [50, 50, 60, 60]])
    found = mined(np.array([[0.6, 0.1], [0.1, 0.9], [0.2, 0.2]]), boxes, np.ones(2))
    assert found.labels.tolist() == [0, 1, 2]
    assert found.weights.tolist() == [0.6, 0.9, 0.6]


def test_half_an_overlap_is_enough() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4]])
    assert mined(np.array([[0.9], [0.0], [0.0]]), boxes, np.ones(1)).labels.tolist() == [0, 0, 1]


def test_without_a_positive_class_all_is_background_of_no_weight() -> None:
    found = mined(np.full((2, 3), 0.5), np.array([[0.0, 0, 9, 9], [1, 1, 5, 5]]), np.zeros(3))
    assert found.labels.tolist() == [3, 3]
    assert found.weights.tolist() == [0, 0]


def test_the_scores_are_left_as_they_were_and_get_no_gradient() -> None:
    scores = torch.rand(4, 2, requires_grad=True)
    before = scores.detach().clone()
    found = mine_instances(
        scores, torch.tensor([[0.0, 0, 9, 9]] * 4), torch.ones(2), foreground_iou=0.5, ignored_below_iou=0
    )
    assert torch.equal(scores.detach(), before)
    assert not found.weights.requires_grad


def test_each_proposal_knows_the_box_of_its_seed() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 10, 9], [52, 50, 60, 60]])
    scores = np.array([[0.9, 0.0], [0.0, 0.8], [0.1, 0.1], [0.1, 0.1]])
    assert mined(scores, boxes, np.ones(2)).seed_boxes.tolist() == boxes[[0, 1, 0, 1]].tolist()
    assert mined(scores, boxes, np.zeros(2)).seed_boxes.tolist() == boxes.tolist()
