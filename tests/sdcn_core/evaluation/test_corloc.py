import numpy as np
import pytest

from sdcn_core.evaluation.corloc import correct_localization, localize
from tests.sdcn_core.evaluation import devkit
from tests.sdcn_core.evaluation.made_up import annotation, random_boxes, random_scores

PROPOSALS = np.array([[0, 0, 10, 10], [50, 50, 60, 60], [0, 0, 10, 5]], dtype=np.float32)


@pytest.mark.parametrize("seed", range(10))
def test_corloc_of_random_splits_equals_a_count_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    right, images, said = [0] * 3, [0] * 3, []
    for n in rng.integers(0, 5, 30):
        truth = annotation(random_boxes(rng, n), rng.integers(0, 3, n), rng.random(n) < 0.3)
        proposals, scores = random_boxes(rng, 8), random_scores(rng, 8, 3)
        said.append(localize(scores, proposals, truth, match_iou=0.5))
        for c in range(3):
            top = max(range(8), key=lambda i: scores[i, c])
            overlaps = [devkit.overlap(proposals[top].tolist(), b.tolist()) for b in truth.boxes[truth.classes == c]]
            images[c] += bool(overlaps)
            right[c] += any(o > 0.5 for o in overlaps)
    results = correct_localization(said, num_classes=3)
    assert [(c.num_correct, c.num_images) for c in results] == list(zip(right, images, strict=True))
    assert [c.corloc for c in results] == [r / n for r, n in zip(right, images, strict=True)]


def test_a_difficult_object_counts_as_an_object() -> None:
    said = localize(
        np.array([[0.9], [0.1], [0.1]]), PROPOSALS, annotation([[0, 0, 10, 10]], [0], [True]), match_iou=0.5
    )
    assert correct_localization([said], num_classes=1)[0].corloc == 1.0


def test_only_the_best_box_of_a_class_is_looked_at() -> None:
    said = localize(np.array([[0.8], [0.9], [0.1]]), PROPOSALS, annotation([[0, 0, 10, 10]], [0]), match_iou=0.5)
    assert correct_localization([said], num_classes=1)[0].corloc == 0.0


def test_an_object_of_another_class_is_no_hit() -> None:
    truth = annotation([[0, 0, 10, 10], [50, 50, 60, 60]], [0, 1])
    said = localize(np.array([[0.1, 0.9], [0.9, 0.1], [0, 0]]), PROPOSALS, truth, match_iou=0.5)
    assert said.correct.tolist() == [False, False]


def test_an_overlap_of_exactly_one_half_is_no_hit() -> None:
    said = localize(np.array([[0.1], [0.1], [0.9]]), PROPOSALS, annotation([[0, 0, 10, 10]], [0]), match_iou=0.5)
    assert not said.correct.any()


def test_a_class_in_no_image_has_no_corloc() -> None:
    said = localize(np.zeros((3, 2)), PROPOSALS, annotation([], []), match_iou=0.5)
    assert [c.corloc for c in correct_localization([said], num_classes=2)] == [None, None]
    assert correct_localization([], num_classes=1)[0].corloc is None
