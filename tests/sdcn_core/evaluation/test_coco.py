import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.data.image_set import AnnotatedSet, CocoNumbers, ImageRecord, ImageSet
from sdcn_core.errors import BadInput
from sdcn_core.evaluation.coco import (
    BOXES_PER_IMAGE,
    coco_figures,
    coco_results,
    detections_of_results,
    image_info,
    load_coco_results,
    require_coco_tools,
    save_coco_results,
)
from sdcn_core.evaluation.evaluator import ScoredSplit, judge
from sdcn_core.structures.annotation import Detections
from tests.sdcn_core.evaluation.made_up import annotation, detections
from tests.sdcn_core.evaluation.published import coco_split, published_folder

BOX, LARGE = [10, 10, 30, 30], [0, 0, 100, 100]


def split(
    boxes: object = (BOX,), classes: object = (0,), difficult: object = None, numbers: CocoNumbers | None = None
) -> AnnotatedSet:
    """Images b and a, of which b has these objects and a none; classes cat and dog."""
    records = tuple(ImageRecord(name, Path(f"{name}.jpg"), 100, 120, ()) for name in "ba")
    truths = (annotation(boxes, classes, difficult, "b"), annotation([], [], image_id="a"))
    return AnnotatedSet(ImageSet("test", ("cat", "dog"), records), truths, coco=numbers)


def of_b(boxes: object, scores: object, classes: object) -> tuple[Detections, ...]:
    return detections(boxes, scores, classes, "b"), detections([], [], [], "a")


def test_the_twelve_published_figures_of_a_hundred_coco_images_are_reproduced() -> None:
    folder = published_folder("coco_val2014_100")
    whole = coco_split(folder)
    found = load_coco_results(whole, folder / "instances_val2014_fakebbox100_results.json")
    assert sum(len(one.scores) for one in found) == 734
    published = (
        *(0.5045806987249628, 0.6969727247299577, 0.5729816669904824),
        *(0.5856257209410443, 0.5193996948036719, 0.5013978986347466),
        *(0.38681277964578054, 0.5936795762842003, 0.595352982877607),
        *(0.6398109626113442, 0.5664205978994309, 0.5642905982905982),
    )
    assert tuple(coco_figures(whole, found).by_name().values()) == pytest.approx(published, abs=1e-12)


def test_perfect_boxes_have_full_marks_and_sizes_without_objects_none() -> None:
    figures = coco_figures(split(), of_b([BOX], [0.9], [0]))
    assert {name for name, value in figures.by_name().items() if value is None} == {
        "ap_medium",
        "ap_large",
        "ar_medium",
        "ar_large",
    }
    assert all(value == pytest.approx(1.0) for value in figures.by_name().values() if value is not None)


def test_no_detections_have_figures_of_zero_and_no_objects_none() -> None:
    nothing = of_b([], [], [])
    assert coco_figures(split(), nothing).ap == 0.0
    assert coco_figures(split([], []), nothing).ap is None
    assert coco_figures(split([], []), of_b([BOX], [0.5], [0])).ap50 is None


def test_a_difficult_object_need_not_be_found_and_what_lies_in_it_is_no_false_alarm() -> None:
    with_crowd = split([BOX, [50, 50, 100, 100]], [0, 0], [False, True])
    found = of_b([[60, 60, 70, 70], [80, 80, 90, 90], BOX], [0.9, 0.8, 0.5], [0, 0, 0])
    assert coco_figures(with_crowd, found).ap == pytest.approx(1.0)
    assert coco_figures(split([BOX], [0]), found).ap == pytest.approx(1 / 3)


def test_the_size_of_an_object_is_what_the_data_set_says_it_is() -> None:
    numbers = CocoNumbers({"a": 7, "b": 9}, (3, 1), {"b": np.array([100.0]), "a": np.zeros(0)})
    by_region = coco_figures(split([LARGE], [0], numbers=numbers), of_b([LARGE], [0.9], [0]))
    by_box = coco_figures(split([LARGE], [0]), of_b([LARGE], [0.9], [0]))
    assert (by_region.ar_small, by_region.ar_large) == (1.0, None)
    assert (by_box.ar_small, by_box.ar_large) == (None, 1.0)


def test_without_numbers_of_coco_images_count_by_the_split_and_classes_in_their_order_from_one() -> None:
    results = coco_results(split(), of_b([[1.5, 2, 4, 8]], [0.25], [1]))
    assert results == [{"image_id": 1, "category_id": 2, "bbox": [1.5, 2.0, 2.5, 6.0], "score": 0.25}]
    assert image_info(split()) == {
        "images": [
            {"id": 1, "file_name": "b.jpg", "height": 100, "width": 120},
            {"id": 2, "file_name": "a.jpg", "height": 100, "width": 120},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


def test_the_numbers_of_a_coco_data_set_are_kept() -> None:
    whole = split(numbers=CocoNumbers({"a": 7, "b": 9}, (18, 17)))
    (result,) = coco_results(whole, of_b([BOX], [0.25], [1]))
    assert (result["image_id"], result["category_id"]) == (9, 17)
    assert [image["id"] for image in image_info(whole)["images"]] == [9, 7]
    assert coco_figures(whole, of_b([BOX], [0.9], [0])).ar1 == 1.0


@pytest.mark.parametrize("numbers", [None, CocoNumbers({"a": 7, "b": 9}, (18, 17))], ids=["counted", "of COCO"])
def test_results_survive_their_file(tmp_path: Path, numbers: CocoNumbers | None) -> None:
    whole = split(numbers=numbers)
    rng = np.random.default_rng(0)
    corners = rng.random((20, 2)) * 50
    boxes = np.concatenate([corners, corners + rng.random((20, 2)) * 40], axis=1)
    found = (detections(boxes, np.sort(rng.random(20))[::-1], np.arange(20) // 10, "b"), detections([], [], [], "a"))
    save_coco_results(whole, found, tmp_path / "found.json")
    for before, after in zip(found, load_coco_results(whole, tmp_path / "found.json"), strict=True):
        assert before.image_id == after.image_id
        for field in ("boxes", "scores", "classes"):
            np.testing.assert_array_equal(getattr(after, field), getattr(before, field), strict=True)


def test_results_come_back_by_class_and_best_first_whatever_their_order() -> None:
    results = [
        {"image_id": 1, "category_id": category, "bbox": [0, 0, 1, 1], "score": score}
        for category, score in ((2, 0.1), (1, 0.2), (2, 0.9), (1, 0.3))
    ]
    found, nothing = detections_of_results(split(), results)
    assert found.classes.tolist() == [0, 0, 1, 1]
    assert found.scores.tolist() == pytest.approx([0.3, 0.2, 0.9, 0.1])
    assert nothing.boxes.shape == (0, 4)


def test_only_the_best_hundred_of_an_image_are_listed_and_judged() -> None:
    count = BOXES_PER_IMAGE + 1
    boxes = [[50, 50, 60, 60]] * BOXES_PER_IMAGE + [BOX]
    found = of_b(boxes, np.linspace(0.9, 0.1, count), np.arange(count) // BOXES_PER_IMAGE)
    assert len(coco_results(split(), found)) == BOXES_PER_IMAGE
    assert coco_figures(split([BOX], [1]), found).ar100 == 0.0


ENTRY: dict[str, Any] = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}


@pytest.mark.parametrize(
    "entry",
    [
        ENTRY | {"image_id": 3},
        ENTRY | {"category_id": 0},
        ENTRY | {"bbox": [0, 0, 1]},
        ENTRY | {"bbox": "0 0 1 1"},
        ENTRY | {"score": None},
        ENTRY | {"score": float("nan")},
        ENTRY | {"image_id": []},
        {"image_id": 1},
        7,
    ],
    ids=str,
)
def test_an_entry_that_is_no_result_of_the_split_is_named(tmp_path: Path, entry: object) -> None:
    path = tmp_path / "found.json"
    path.write_text(json.dumps([ENTRY, entry]))
    with pytest.raises(BadInput, match=r"found\.json: COCO results, entry 2"):
        load_coco_results(split(), path)


@pytest.mark.parametrize(
    "spoil",
    [lambda path: None, lambda path: path.write_text("[{"), lambda path: path.write_text("{}")],
    ids=["missing", "cut off", "no list"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    spoil(tmp_path / "found.json")
    with pytest.raises(BadInput, match=r"found\.json"):
        load_coco_results(split(), tmp_path / "found.json")


def test_a_file_beyond_all_measure_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdcn_core.evaluation.coco.MAX_RESULT_BYTES", 3)
    (tmp_path / "found.json").write_text("[    ]")
    with pytest.raises(BadInput, match="more than"):
        load_coco_results(split(), tmp_path / "found.json")


def test_the_figures_are_counted_where_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = split()
    boxes = {"a": np.array([BOX], np.float32), "b": np.array([BOX], np.float32)}
    scores = {k: np.array([[0.9, 0.1]], np.float32) for k in range(2)}

    def report(**fields: object) -> Any:
        config = EvaluationConfig.model_validate(fields)
        return judge(ScoredSplit(whole, scores, boxes), None, config).report

    figures = report(coco=True).coco
    assert figures == coco_figures(whole, (*of_b([BOX], [0.9], [0])[:1], detections([BOX], [0.9], [0], "a")))
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    assert report().coco is None
    with pytest.raises(BadInput, match=r"evaluation\.coco"):
        report(coco=True)


def test_missing_tools_are_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    require_coco_tools()
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(BadInput, match=r"pip install pycocotools, or set evaluation\.coco to false"):
        require_coco_tools()


def test_the_tools_say_nothing_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    coco_figures(split(), of_b([BOX], [0.9], [0]))
    assert capsys.readouterr().out == ""
