import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sdcn_core.data.selective_search import search_file
from sdcn_core.errors import BadInput, SearchBusy, WeightsError
from sdcn_core.evaluation.detections import select_detections
from sdcn_core.evaluation.inference import score_proposals
from sdcn_core.inference import predictor as predictor_module
from sdcn_core.inference import proposing
from sdcn_core.inference.prediction import FoundBox
from sdcn_core.inference.predictor import Predictor
from sdcn_core.inference.proposing import turn_to_search
from sdcn_core.models.saved import load_model
from sdcn_core.structures.outputs import ScoredProposals
from tests.sdcn_core.export.saved_models import CLASSES, experiment_of, write_model

Image = NDArray[np.uint8]


def found(predictor: Predictor, image: Image, **settings: object) -> tuple[FoundBox, ...]:
    defaults = {"score_threshold": 0.0, "max_boxes": 1000}
    return predictor.predict(image, **defaults | settings).detections  # type: ignore[arg-type]


def test_the_boxes_are_those_that_evaluation_would_make_of_the_file(
    predictor: Predictor, photograph: Image, tmp_path: Path
) -> None:
    path = tmp_path / "photograph.png"
    cv2.imwrite(str(path), photograph[:, :, ::-1])
    boxes = search_file(path, mode="fast", max_side_px=None, min_side_px=0, limit=2000)
    testing = experiment_of().evaluation.model_copy(update={"test_scales_px": (64, 96), "flip": True})

    def scorer(image: torch.Tensor, proposals: torch.Tensor) -> ScoredProposals:
        return predictor._network.detect(image, (proposals,))[0]

    scores = score_proposals(scorer, photograph, boxes, config=testing, max_side_px=2000).scores
    limits = {"nms_iou": 0.3, "boxes_per_class": 100, "boxes_per_image_cap": 40 * 1000}
    (expected,) = select_detections(["one of a thousand"], [scores], [boxes], **limits)
    detections = found(predictor, photograph)
    assert len(detections) == len(expected.boxes) > 4
    assert {(CLASSES.index(box.class_name), box.score, box.xyxy) for box in detections} == {
        (int(c), float(s), tuple(map(float, b)))
        for c, s, b in zip(expected.classes, expected.scores, expected.boxes, strict=True)
    }


def test_a_model_with_box_regression_finds_moved_boxes_inside_the_image(tmp_path: Path, photograph: Image) -> None:
    path = write_model(tmp_path / "model.pt", experiment_of(box_regression=True))
    boxes = np.array([box.xyxy for box in found(Predictor.load(path), photograph)])
    assert (boxes != boxes.round()).any()
    assert (boxes >= 0).all()
    assert (boxes <= np.tile((photograph.shape[1], photograph.shape[0]), 2)).all()


def test_the_best_box_comes_first_and_weak_ones_are_left_out(predictor: Predictor, photograph: Image) -> None:
    every = found(predictor, photograph)
    scores = [box.score for box in every]
    assert scores == sorted(scores, reverse=True)
    threshold = scores[2]
    assert found(predictor, photograph, score_threshold=threshold) == every[: scores.count(threshold) + 2]
    assert found(predictor, photograph, max_boxes=1) == every[:1]


def test_predicting_twice_gives_the_same_boxes(predictor: Predictor, photograph: Image) -> None:
    assert found(predictor, photograph) == found(predictor, photograph)


def test_fast_is_one_pass_at_the_middle_scale(
    predictor: Predictor, photograph: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, ...]] = []
    detect = predictor._network.detect
    monkeypatch.setattr(predictor._network, "detect", lambda i, p: (sizes.append(tuple(i.shape[2:])), detect(i, p))[1])
    found(predictor, photograph)
    assert sizes == [(46, 64), (46, 64), (69, 96), (69, 96)]
    sizes.clear()
    found(predictor, photograph, fast=True)
    assert sizes == [(69, 96)]


def test_times_of_all_parts_are_told(predictor: Predictor, photograph: Image) -> None:
    seconds = predictor.predict(photograph, score_threshold=0, max_boxes=1).seconds
    assert min(seconds.proposals, seconds.network, seconds.nms) > 0
    assert seconds.total == pytest.approx(seconds.proposals + seconds.network + seconds.nms)


def test_an_image_without_proposals_has_no_objects(tmp_path: Path, photograph: Image) -> None:
    experiment = experiment_of().with_overrides({"data.proposals.min_side_px": 500})
    prediction = Predictor.load(write_model(tmp_path / "model.pt", experiment)).predict(
        photograph, score_threshold=0, max_boxes=10
    )
    assert (prediction.num_proposals, prediction.detections) == (0, ())


def test_an_image_of_one_pixel_is_its_own_only_box(model_file: Path) -> None:
    prediction = Predictor.load(model_file).predict(np.zeros((1, 1, 3), np.uint8), score_threshold=0, max_boxes=10)
    assert {box.xyxy for box in prediction.detections} == {(0.0, 0.0, 1.0, 1.0)}


def test_a_thin_strip_is_predicted(model_file: Path) -> None:
    prediction = Predictor.load(model_file).predict(np.zeros((2, 700, 3), np.uint8), score_threshold=0, max_boxes=10)
    assert (prediction.height, prediction.width) == (2, 700)
    assert prediction.detections


def test_grey_is_the_same_as_three_equal_channels(predictor: Predictor, photograph: Image) -> None:
    grey = photograph[:, :, 0]
    expected = found(predictor, np.repeat(grey[:, :, None], 3, axis=2))
    assert found(predictor, grey) == found(predictor, grey[:, :, None]) == expected


def test_alpha_is_dropped(predictor: Predictor, photograph: Image) -> None:
    alpha = np.random.default_rng(0).integers(0, 256, (*photograph.shape[:2], 1), dtype=np.uint8)
    assert found(predictor, np.concatenate([photograph, alpha], axis=2)) == found(predictor, photograph)


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 5, 2), (5, 5, 5), (1, 5, 5, 3), (5,)])
def test_an_array_that_is_no_image_is_refused(predictor: Predictor, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=r"an image is \(H, W\), or"):
        found(predictor, np.zeros(shape, np.uint8))


def test_an_image_of_floats_is_refused(predictor: Predictor) -> None:
    with pytest.raises(BadInput, match="values of type uint8, not float64"):
        found(predictor, np.zeros((5, 5, 3)))  # type: ignore[arg-type]


def test_a_huge_image_is_refused_before_any_work(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor_module, "MAX_PIXELS", 100)
    with pytest.raises(BadInput, match="11 x 10 pixels, more than 100"):
        found(predictor, np.zeros((10, 11, 3), np.uint8))


def test_a_large_image_is_searched_no_larger_than_the_network_sees_it(tmp_path: Path, photograph: Image) -> None:
    experiment = experiment_of().with_overrides({"data.max_side_px": 42})
    predictor = Predictor.load(write_model(tmp_path / "model.pt", experiment))
    boxes = {box.xyxy for box in found(predictor, photograph)}
    assert boxes
    assert all(edge % 2 == 0 for box in boxes for edge in box)  # found at half the size


@pytest.mark.parametrize(
    ("testing", "searched"),
    [
        ({"test_scales_px": [480, 1200], "test_side": "longest"}, 1200),
        ({"test_scales_px": [480, 1200], "test_side": "shortest"}, 1600),
        ({"test_scales_px": [2400], "test_side": "longest"}, 2000),
        ({"test_scales_px": None}, 640),
    ],
)
def test_a_photo_is_searched_at_the_side_of_its_largest_pass(
    model_file: Path, monkeypatch: pytest.MonkeyPatch, testing: dict[str, object], searched: int
) -> None:
    sides: list[int] = []

    def search(image: Image, *, max_side_px: int, **_: object) -> NDArray[np.float32]:
        sides.append(max_side_px)
        return np.zeros((0, 4), np.float32)

    monkeypatch.setattr(proposing, "search_image", search)
    saved = load_model(model_file)
    experiment = saved.experiment.with_overrides({f"evaluation.{name}": value for name, value in testing.items()})
    predictor = Predictor(replace(saved, experiment=experiment))
    found(predictor, np.zeros((1500, 2000, 3), np.uint8))
    assert sides == [searched]


def test_without_test_scales_the_search_has_a_bound_of_its_own(model_file: Path, photograph: Image) -> None:
    bounded = Predictor.load(model_file, search_side_px=42)
    assert all(edge % 2 == 0 for box in found(bounded, photograph) for edge in box.xyxy)  # found at half the size
    at_the_bound = Predictor.load(model_file, search_side_px=photograph.shape[1])
    assert found(at_the_bound, photograph) == found(Predictor.load(model_file), photograph)


def test_who_waits_too_long_for_the_search_of_another_image_is_told(predictor: Predictor, photograph: Image) -> None:
    with turn_to_search(None), pytest.raises(SearchBusy, match=r"not done within 0\.01 s"):
        found(predictor, photograph, wait_s=0.01)
    assert found(predictor, photograph, wait_s=0.01)


def test_waiting_is_not_counted_among_the_seconds_of_the_search(predictor: Predictor, photograph: Image) -> None:
    with ThreadPoolExecutor(1) as threads:
        with turn_to_search(None):
            other = threads.submit(predictor.predict, photograph, score_threshold=0, max_boxes=1, wait_s=60)
            time.sleep(0.5)
        prediction = other.result(timeout=60)
    alone = predictor.predict(photograph, score_threshold=0, max_boxes=1)
    assert prediction.waited_s > 0.3 > alone.waited_s
    assert prediction.detections == alone.detections


@pytest.mark.parametrize("wrong", [{"score_threshold": 1.5}, {"score_threshold": float("nan")}, {"max_boxes": 0}])
def test_settings_out_of_range_are_refused(predictor: Predictor, photograph: Image, wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        found(predictor, photograph, **wrong)


def test_scores_that_are_no_numbers_are_never_given_out(model_file: Path, photograph: Image) -> None:
    saved = load_model(model_file)
    predictor = Predictor(saved)
    saved.network.detection.features.fc7.bias.fill_(float("inf"))
    with pytest.raises(WeightsError, match="scores are not finite"):
        found(predictor, photograph)


def test_a_model_judged_by_pcl_s_protocol_keeps_so_many_boxes_of_an_image_over_all_classes(
    photograph: Image, tmp_path: Path
) -> None:
    by_image = {"evaluation.protocol": "pcl", "evaluation.pcl.boxes_per_image": 3, "evaluation.pcl.score_threshold": 0}
    experiment = experiment_of().with_overrides({"evaluation.test_scales_px": [64], **by_image})
    every = found(Predictor.load(write_model(tmp_path / "oicr.pt", experiment_of())), photograph)
    three = found(Predictor.load(write_model(tmp_path / "pcl.pt", experiment)), photograph)
    assert len(every) > len(three) == 3
    assert [box.score for box in three] == sorted((box.score for box in three), reverse=True)
