from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.config.second_stage import PseudoLabelConfig
from sdcn_core.data.image_set import ImageRecord, ImageSet
from sdcn_core.errors import BadInput, WeightsError
from sdcn_core.evaluation.scored_boxes import ScoredBoxes
from sdcn_core.pseudo_labels.labels import (
    PseudoLabels,
    check_pseudo_labels,
    find_pseudo_boxes,
    load_pseudo_labels,
    mine_pseudo_boxes,
    save_pseudo_labels,
)
from sdcn_core.structures.outputs import ScoredProposals
from sdcn_core.structures.pseudo_boxes import PseudoBoxes

ONE = PseudoLabelConfig()
BOXES = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10]], np.float32)
SCORES = np.array([[0.1, 0.9, 0.3], [0.4, 0.8, 0.3], [0.2, 0.7, 0.1]], np.float32)
FOUND = ScoredBoxes(SCORES, BOXES)


def mined(found: ScoredBoxes, positive: tuple[int, ...], config: PseudoLabelConfig = ONE) -> list[object]:
    chosen = mine_pseudo_boxes(found, positive, config, nms_iou=0.3)
    return list(zip(chosen.classes.tolist(), chosen.boxes.tolist(), strict=True))


def test_each_positive_class_gives_its_top_box_and_no_other_class_any() -> None:
    assert mined(FOUND, (0, 1)) == [(0, [0, 0, 10, 9]), (1, [0, 0, 10, 10])]


def test_of_equal_scores_the_first_box_is_taken() -> None:
    assert mined(FOUND, (2,)) == [(2, [0, 0, 10, 10])]


def test_an_image_without_a_positive_class_gives_no_box() -> None:
    chosen = mine_pseudo_boxes(FOUND, (), ONE, nms_iou=0.3)
    assert (len(chosen), chosen.boxes.shape) == (0, (0, 4))


def test_more_boxes_of_a_class_are_the_best_that_do_not_overlap() -> None:
    assert mined(FOUND, (1,), PseudoLabelConfig(boxes_per_class=3)) == [(1, [0, 0, 10, 10]), (1, [20, 0, 30, 10])]
    assert mined(FOUND, (1,), PseudoLabelConfig(boxes_per_class=3, min_score=0.75)) == [(1, [0, 0, 10, 10])]


def test_boxes_below_the_least_score_are_left_out() -> None:
    assert mined(FOUND, (0, 1), PseudoLabelConfig(min_score=0.5)) == [(1, [0, 0, 10, 10])]


def test_regressed_boxes_are_those_of_their_class_and_empty_ones_are_passed_over() -> None:
    moved = np.stack([BOXES, BOXES + 1, BOXES], axis=1)
    moved[0, 1] = [10, 0, 10, 10]  # the best of class 1 was moved out of the image
    assert mined(ScoredBoxes(SCORES, moved), (1, 2)) == [(1, [1, 1, 11, 10]), (2, [0, 0, 10, 10])]


@pytest.fixture
def image_set(tmp_path: Path) -> ImageSet:
    records = []
    for index, labels in enumerate([(0,), (), (0, 1)]):
        path = tmp_path / f"{index}.png"
        cv2.imwrite(str(path), np.full((40, 40, 3), 50 * (index + 1), np.uint8))
        records.append(ImageRecord(f"im{index}", path, 40, 40, labels))
    return ImageSet("train", ("cat", "dog"), tuple(records))


class Detector:
    """Likes boxes on the left for a cat and on the right for a dog, and notes how often it is asked."""

    def __init__(self) -> None:
        self.images = 0

    def __call__(self, images: Tensor, proposals: Tensor) -> ScoredProposals:
        self.images += 1
        left = 1 - proposals[:, 0] / 40
        return ScoredProposals(torch.stack([left, 1 - left], dim=1))


def find(
    detector: object,
    image_set: ImageSet,
    *,
    known: Mapping[str, PseudoBoxes] | None = None,
    stop_after: int = 100,
    flip: bool = False,
) -> tuple[dict[str, PseudoBoxes] | None, dict[str, PseudoBoxes]]:
    """What was found, and what was kept on the way."""
    kept: dict[str, PseudoBoxes] = {}
    found = find_pseudo_boxes(
        detector,  # type: ignore[arg-type]
        image_set,
        {record.image_id: BOXES for record in image_set.records},
        ONE,
        testing=EvaluationConfig(test_scales_px=(40, 80), flip=flip),
        max_side_px=2000,
        known=known or {},
        keep=lambda found: kept.update(found),
        should_stop=lambda: len(kept) >= stop_after,
    )
    return found, kept


def test_every_image_is_scored_at_all_scales_but_those_without_a_class(image_set: ImageSet) -> None:
    detector = Detector()
    found, _ = find(detector, image_set)
    assert found is not None
    assert list(found) == ["im0", "im1", "im2"]
    assert detector.images == 2 * 2
    assert [boxes.boxes.tolist() for boxes in found.values()] == [
        [[0, 0, 10, 10]],
        [],
        [[0, 0, 10, 10], [20, 0, 30, 10]],
    ]


def test_work_that_was_stopped_goes_on_where_it_was(image_set: ImageSet) -> None:
    first, kept = find(Detector(), image_set, stop_after=1)
    assert first is None
    detector = Detector()
    second, _ = find(detector, image_set, known=kept)
    assert detector.images == 2
    whole, _ = find(Detector(), image_set)
    assert second is not None
    assert whole is not None
    assert list(second) == list(whole)
    assert all(np.array_equal(second[name].boxes, whole[name].boxes) for name in whole)


def test_spoilt_weights_are_told_by_the_image_s_name(image_set: ImageSet) -> None:
    def spoilt(images: Tensor, proposals: Tensor) -> ScoredProposals:
        return ScoredProposals(torch.full((len(proposals), 2), float("nan")))

    with pytest.raises(WeightsError, match="im0"):
        find(spoilt, image_set)


def labels_of(images: dict[str, PseudoBoxes], config: PseudoLabelConfig = ONE) -> PseudoLabels:
    return PseudoLabels(("cat", "dog"), "a" * 64, config, images)


def test_a_file_gives_back_what_was_written(image_set: ImageSet, tmp_path: Path) -> None:
    found, _ = find(Detector(), image_set)
    assert found is not None
    labels = labels_of(found)
    save_pseudo_labels(labels, tmp_path / "labels.npz")
    read = load_pseudo_labels(tmp_path / "labels.npz")
    assert (read.classes, read.model_sha256, read.config) == (labels.classes, labels.model_sha256, labels.config)
    assert (read.num_boxes, read.num_without, read.boxes_by_class()) == (3, 1, (2, 1))
    assert list(read.images) == list(found)
    for name, boxes in found.items():
        for field in ("boxes", "classes", "scores"):
            np.testing.assert_array_equal(getattr(read.images[name], field), getattr(boxes, field))
    assert [path.name for path in tmp_path.glob("*.npz")] == ["labels.npz"]


def test_labels_of_no_image_are_a_file_too(tmp_path: Path) -> None:
    save_pseudo_labels(labels_of({}), tmp_path / "labels.npz")
    assert load_pseudo_labels(tmp_path / "labels.npz").images == {}


@pytest.mark.parametrize("spoil", ["missing", "cut off", "an empty box", "no class"])
def test_a_broken_file_is_named(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "labels.npz"
    box = np.array([[5, 5, 5, 9]] if spoil == "an empty box" else [[1, 2, 3, 4]], np.float32)
    label = np.array([2 if spoil == "no class" else 0])
    save_pseudo_labels(labels_of({"im": PseudoBoxes(box, label, np.ones(1, np.float32))}), path)
    if spoil == "missing":
        path.unlink()
    if spoil == "cut off":
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadInput, match=r"labels.npz.*find them again"):
        load_pseudo_labels(path)


def test_labels_that_leave_a_class_without_a_box_cannot_be_learnt_from() -> None:
    cats = labels_of(
        {"im": PseudoBoxes(BOXES[:1], np.array([0]), np.ones(1, np.float32))}, PseudoLabelConfig(min_score=0.5)
    )
    with pytest.raises(BadInput, match=r"dog scores 0\.5 or more: lower"):
        check_pseudo_labels(cats)
