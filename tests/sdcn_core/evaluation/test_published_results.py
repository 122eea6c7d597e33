import json
from typing import Any

import numpy as np
import pytest

from sdcn_core.evaluation.average_precision import ImageMatches, average_precision, match_detections
from sdcn_core.evaluation.class_means import mean_over_classes
from sdcn_core.evaluation.comp4 import load_comp4
from sdcn_core.evaluation.corloc import correct_localization, localize
from sdcn_core.structures.annotation import Annotation, Detections
from tests.sdcn_core.evaluation.made_up import annotation, detections
from tests.sdcn_core.evaluation.published import (
    VOC_CLASSES,
    published_folder,
    voc07_test_annotations,
)

Split = tuple[list[Annotation], list[Detections], dict[str, Any]]


@pytest.fixture(scope="module")
def voc07() -> Split:
    """VOC 2007 test with the detections of a YOLOv2, and what was published of them."""
    folder = published_folder("voc07_test_yolov2_run_a_epoch150")
    truths = voc07_test_annotations()
    return (
        list(truths.values()),
        list(load_comp4(folder / "det", VOC_CLASSES, list(truths), split="test")),
        json.loads((folder / "expected.json").read_text()),
    )


@pytest.fixture(scope="module")
def matches(voc07: Split) -> list[ImageMatches]:
    truths, found, _ = voc07
    return [match_detections(f, t, num_classes=20, match_iou=0.5) for f, t in zip(found, truths, strict=True)]


def test_the_twenty_published_aps_of_voc07_are_reproduced(voc07: Split, matches: list[ImageMatches]) -> None:
    expected = voc07[2]
    results = average_precision(matches, num_classes=20, flavour="voc07_11point")
    for name, result in zip(VOC_CLASSES, results, strict=True):
        assert result.ap == pytest.approx(expected["published_ap07"][name], abs=1e-9), name
        assert result.num_objects == expected["ours"][name]["npos"], name
    mean = mean_over_classes(tuple(r.ap for r in results))
    assert mean == pytest.approx(expected["published_mean_ap07"], abs=1e-9)


def test_an_independent_count_of_the_area_and_the_final_recall_is_reproduced(
    voc07: Split, matches: list[ImageMatches]
) -> None:
    for name, result in zip(VOC_CLASSES, average_precision(matches, num_classes=20, flavour="area"), strict=True):
        expected = voc07[2]["ours"][name]
        assert result.ap == pytest.approx(expected["ap_allpoint"], abs=1e-9), name
        assert result.recall[-1] == pytest.approx(expected["recall_end"], abs=1e-12), name


@pytest.mark.parametrize(
    ("measure", "count", "with_difficult"),
    [
        ("top1_loc_any_gt", "n_images_any_gt", True),
        ("top1_loc_nondifficult", "n_images_nondifficult", False),
    ],
)
def test_an_independent_count_of_the_best_boxes_is_reproduced(
    voc07: Split, measure: str, count: str, with_difficult: bool
) -> None:
    truths, found, expected = voc07
    localizations = []
    for truth, boxes in zip(truths, found, strict=True):
        seen = np.ones(len(truth.boxes), bool) if with_difficult else ~truth.difficult
        # a class without a detection has the empty first box as its best
        scores = np.zeros((len(boxes.scores) + 1, 20))
        scores[np.arange(len(boxes.scores)) + 1, boxes.classes] = boxes.scores
        proposals = np.concatenate([np.zeros((1, 4), np.float32), boxes.boxes])
        objects = annotation(truth.boxes[seen], truth.classes[seen])
        localizations.append(localize(scores, proposals, objects, match_iou=0.5))
    for name, result in zip(VOC_CLASSES, correct_localization(localizations, num_classes=20), strict=True):
        assert result.num_images == expected["ours"][name][count], name
        assert result.corloc == pytest.approx(expected["ours"][name][measure], abs=1e-12), name


@pytest.mark.parametrize(
    ("flavour", "ap", "printed"), [("voc07_11point", 0.268398, 26.84), ("area", 0.245686680, 24.56)]
)
def test_padilla_s_sample_has_its_printed_aps(flavour: str, ap: float, printed: float) -> None:
    folder = published_folder("padilla_sample_2")
    matches = []
    for file in sorted((folder / "groundtruths").glob("*.txt")):
        objects = np.array([line.split()[1:] for line in file.read_text().splitlines()], dtype=float).reshape(-1, 4)
        lines = (folder / "detections" / file.name).read_text().splitlines()
        found = np.array([line.split()[1:] for line in lines], dtype=float).reshape(-1, 5)
        truth = annotation(corners(objects), np.zeros(len(objects)))
        boxes = detections(corners(found[:, 1:]), found[:, 0], np.zeros(len(found)))
        # the sample matches at 0.3 and over; below it, no overlap of the sample comes nearer than this
        matches.append(match_detections(boxes, truth, num_classes=1, match_iou=0.3 - 1e-9))
    result = average_precision(matches, num_classes=1, flavour=flavour)[0]  # type: ignore[arg-type]
    assert result.ap == pytest.approx(ap, abs=1e-6)
    assert result.ap == pytest.approx(printed / 100, abs=1e-4)


def corners(boxes: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """From x y width height, where the edge at x + width is still inside."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:] + 1], axis=1)
