import numpy as np
import pytest

from sdcn_core.data.class_masks import VOID
from sdcn_core.evaluation.pixel_metrics import (
    PixelCounts,
    PixelScores,
    detected_class,
    pixel_confusion,
    strongest_class,
)
from tests.sdcn_core.evaluation import devkit
from tests.sdcn_core.evaluation.made_up import random_boxes, random_scores

C = 3


def scores_of(mask: object, given: object) -> PixelScores:
    return PixelScores.of(pixel_confusion(np.array(mask), np.array(given), num_classes=C))


@pytest.mark.parametrize("seed", range(10))
def test_shares_of_random_masks_equal_a_count_pixel_by_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    masks = [rng.choice([VOID, 0, 1, C], (5, 7)) for _ in range(3)]  # no mask shows class 2
    given = [rng.choice([0, 2, C], (5, 7)) for _ in range(3)]  # class 1 is never found
    total = sum(pixel_confusion(m, g, num_classes=C) for m, g in zip(masks, given, strict=True))
    pairs = [
        (int(t), int(g))
        for m, of in zip(masks, given, strict=True)
        for t, g in zip(m.flat, of.flat, strict=True)
        if t != VOID
    ]
    iou, recall, precision = devkit.pixel_shares(pairs, C)
    scores = PixelScores.of(np.asarray(total))
    assert (list(scores.iou), list(scores.recall), list(scores.precision)) == (iou, recall[:-1], precision[:-1])
    right = sum(t == g != C for t, g in pairs)
    assert scores.recall_micro == right / sum(t != C for t, _ in pairs)
    assert scores.precision_micro == right / sum(g != C for _, g in pairs)


def test_a_perfect_map_has_full_marks_for_all_that_is_shown() -> None:
    scores = scores_of([[0, 1, C, C]], [[0, 1, C, C]])
    assert scores.iou == (1.0, 1.0, None, 1.0)
    assert (scores.mean_iou, scores.mean_recall, scores.mean_precision) == (1.0, 1.0, 1.0)
    assert (scores.recall_micro, scores.precision_micro) == (1.0, 1.0)


def test_void_counts_neither_for_nor_against() -> None:
    assert scores_of([[0, VOID, VOID]], [[0, 0, C]]) == scores_of([[0]], [[0]])


def test_a_class_that_is_never_found_has_precision_zero() -> None:
    scores = scores_of([[0, C]], [[C, C]])
    assert (scores.recall[0], scores.precision[0], scores.precision_micro) == (0.0, 0.0, 0.0)


def test_masks_of_background_alone_say_nothing_of_classes() -> None:
    scores = scores_of([[C, C]], [[0, C]])
    assert scores.iou == (None, None, None, 0.5)
    assert (scores.mean_recall, scores.precision_micro) == (None, None)


def test_the_mean_is_over_classes_and_micro_over_pixels() -> None:
    scores = scores_of([[0] * 9 + [1]], [[0] * 9 + [0]])
    assert (scores.mean_recall, scores.recall_micro) == (0.5, 0.9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", [(8, 12), (9, 13), (4, 6), (3, 5)], ids=str)
def test_maps_are_enlarged_bilinearly_before_the_strongest_wins(seed: int, size: tuple[int, int]) -> None:
    maps = np.random.default_rng(seed).random((C + 1, 4, 6), dtype=np.float32)
    slow = np.argmax([devkit.enlarge(channel.tolist(), *size) for channel in maps], axis=0)
    found = strongest_class(maps, height=size[0], width=size[1])
    assert (found == slow).mean() > 0.98  # a pixel may lie on a border by a rounding
    if size == (4, 6):
        np.testing.assert_array_equal(found, maps.argmax(axis=0))


def test_all_channels_compete_and_the_first_wins_a_tie() -> None:
    assert strongest_class(np.ones((C + 1, 2, 2), np.float32), height=4, width=4).tolist() == [[0] * 4] * 4


@pytest.mark.parametrize("seed", range(10))
def test_heat_of_random_proposals_equals_its_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    boxes, scores = random_boxes(rng, 9), random_scores(rng, 9, C)
    boxes = boxes.clip(max=12)
    slow = devkit.heat_classes(scores.tolist(), boxes.tolist(), 12, 12)
    found = detected_class(scores, boxes, height=12, width=12)
    assert (found == np.array(slow)).mean() > 0.98  # two classes may differ by a rounding


def test_a_pixel_that_no_proposal_covers_is_background() -> None:
    found = detected_class(np.array([[0.9, 0.0, 0.0]]), np.array([[1, 0, 3, 1]]), height=1, width=4)
    assert found.tolist() == [[C, 0, 0, C]]


def test_an_absent_class_does_not_glow_however_faint_the_image_is() -> None:
    scores = np.array([[0.02, 0.0, 0.0], [0.0, 0.001, 0.0]])
    found = detected_class(scores, np.array([[0, 0, 2, 1], [2, 0, 4, 1]]), height=1, width=4)
    assert found.tolist() == [[0, 0, C, C]]


def test_scores_that_are_all_zero_see_background_alone() -> None:
    assert (detected_class(np.zeros((1, C)), np.array([[0, 0, 2, 2]]), height=2, width=2) == C).all()


def test_counts_of_shards_add_up_and_none_says_nothing() -> None:
    one = PixelCounts(1, pixel_confusion(np.array([[0]]), np.array([[0]]), num_classes=C), None)
    total = one + PixelCounts.none(C, segmentation=False) + one
    assert (total.num_masks, total.heatmap[0, 0], total.segmentation_scores) == (2, 2, None)
    assert PixelCounts.none(C, segmentation=True).segmentation_scores is None
    assert PixelCounts.none(C, segmentation=True).heatmap_scores is None
