import json
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.data.datasets import DataRoots
from sdcn_core.errors import BadInput
from sdcn_core.evaluation.average_precision import ELEVEN_RECALLS
from sdcn_core.evaluation.coco import coco_figures, load_coco_results
from sdcn_core.evaluation.comp4 import load_comp4
from sdcn_core.evaluation.predictions import load_predictions
from sdcn_core.models.sdcn import SDCN
from sdcn_core.training.inputs import RunInputs
from sdcn_core.training.judging import Judge, Verdict, judged_metrics, results_by_class
from sdcn_core.training.preparation import prepare_data
from sdcn_core.training.ranks import Ranks
from service.jobs.results import Judgement
from tests.sdcn_core.training.small import small_experiment
from tests.sdcn_core.training.two_ranks import on_two_ranks

CPU = torch.device("cpu")
OICR = {
    "objective.segmentation_branch": False,
    "objective.segmentation_instructs_detection": False,
    "objective.detection_instructs_segmentation": False,
}


def network_of(experiment: ExperimentConfig, inputs: RunInputs) -> SDCN:
    """Random weights, the same each time."""
    torch.manual_seed(0)
    branch = experiment.objective.segmentation_branch
    return SDCN(experiment.model, len(inputs.classes), segmentation_branch=branch, weights_root=None)


def inputs_of(experiment: ExperimentConfig, cache: Path) -> RunInputs:
    roots = DataRoots(cache, cache)
    prepare_data(experiment, roots, processes=1, report=lambda _: None)
    return RunInputs.open(experiment, roots)


def judged(
    experiment: ExperimentConfig, inputs: RunInputs, *, corloc: bool = True, pixels: bool = True
) -> tuple[Judge, Verdict]:
    judge = Judge(experiment, inputs, Ranks.current(CPU))
    verdict = judge.trained(network_of(experiment, inputs), corloc=corloc, pixels=pixels, tick=lambda _: False)
    assert verdict is not None
    return judge, verdict


@pytest.fixture(scope="module")
def inputs(cache: Path) -> RunInputs:
    return inputs_of(small_experiment(), cache)


@pytest.fixture(scope="module")
def whole(inputs: RunInputs) -> tuple[Judge, Verdict]:
    """All that can be asked of a network with both branches."""
    return judged(small_experiment(), inputs)


def test_a_verdict_has_boxes_pixels_and_error_modes_as_results_keep_them(
    inputs: RunInputs, whole: tuple[Judge, Verdict]
) -> None:
    _, verdict = whole
    result = Judgement.model_validate(results_by_class(verdict.report))
    assert result.num_masks == result.num_test_images == 8
    assert result.iou is not None
    assert list(result.iou) == [*inputs.classes, "background"]
    assert result.error_modes is not None
    assert {name: None if modes is None else modes["correct"] for name, modes in result.error_modes.items()} == (
        result.corloc
    )
    left_open = {name for name, value in result.model_dump().items() if value is None}
    assert left_open == {"coco"}
    assert sorted(verdict.maps) == list(range(8))


def test_without_a_segmentation_branch_only_the_heat_maps_are_judged(inputs: RunInputs) -> None:
    judge, verdict = judged(small_experiment(**OICR), inputs)
    result = Judgement.model_validate(results_by_class(verdict.report))
    assert (result.iou, result.mean_iou, result.pixel_recall, verdict.maps) == (None, None, None, {})
    assert result.heatmap_recall is not None
    assert judge.chance().heatmap is None


def test_without_masks_nothing_is_said_of_pixels_but_maps_are_kept(inputs: RunInputs) -> None:
    bare = replace(inputs, test=replace(inputs.test, masks=None))
    _, verdict = judged(small_experiment(), bare)
    assert (verdict.report.segmentation, verdict.report.heatmap, verdict.report.num_masks) == (None, None, 0)
    assert len(verdict.maps) == 8


def test_boxes_that_look_at_nothing_are_judged_with_the_network_s_scores(
    inputs: RunInputs, whole: tuple[Judge, Verdict]
) -> None:
    trivial = Judgement.model_validate(results_by_class(whole[1].report)).trivial
    assert list(trivial) == ["whole_image", "centred_box", "largest_proposal"]
    best = []  # CorLoc asks no score: which images does a box around everything fit?
    judged_train = inputs.judged_train
    for index in range(len(inputs.classes)):
        hits = [
            bool(found.max() > 0.5)
            for record, annotation in zip(judged_train.image_set.records, judged_train.annotations or (), strict=True)
            if len(boxes := annotation.boxes[annotation.classes == index])
            for found in [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) / (record.height * record.width)]
        ]
        best += [np.mean(hits)] if hits else []
    assert trivial["whole_image"].mean_corloc == pytest.approx(np.mean(best))


def test_in_the_middle_of_a_run_boxes_on_the_test_split_are_enough(inputs: RunInputs) -> None:
    _, verdict = judged(small_experiment(), inputs, corloc=False, pixels=False)
    assert verdict.report.mean_ap is not None
    assert (verdict.error_modes, verdict.report.segmentation, verdict.maps) == (None, None, {})
    assert verdict.report.trivial == ()


def test_what_is_asked_beside_the_boxes_does_not_change_them(inputs: RunInputs, whole: tuple[Judge, Verdict]) -> None:
    _, least = judged(small_experiment(), inputs, corloc=False, pixels=False)
    assert whole[1].report.ap == least.report.ap


def test_the_judge_stops_while_it_looks_at_pixels(inputs: RunInputs) -> None:
    told: list[int] = []

    def tick(done: int) -> bool:
        told.append(done)
        return len(told) == 3  # test images, training images, pixels

    experiment = small_experiment()
    judge = Judge(experiment, inputs, Ranks.current(CPU))
    assert judge.trained(network_of(experiment, inputs), corloc=True, tick=tick) is None
    assert told == [8, 20, 20]


def test_what_is_kept_can_be_read_without_the_network(
    inputs: RunInputs, whole: tuple[Judge, Verdict], tmp_path: Path
) -> None:
    judge, verdict = whole
    files = judge.keep(verdict, tmp_path)
    assert files == {path.name: path for path in tmp_path.iterdir()}
    curves = json.loads(files["precision_recall.json"].read_text())
    assert {name: of["ap"] for name, of in curves["classes"].items()} == results_by_class(verdict.report)["ap"]
    for of in curves["classes"].values():
        best = [
            max((p for r, p in zip(of["recall"], of["precision"], strict=True) if r >= at), default=0.0)
            for at in ELEVEN_RECALLS
        ]
        assert of["ap"] is None or np.mean(best) == pytest.approx(of["ap"])
    modes = json.loads(files["error_modes.json"].read_text())
    assert modes["mean"] == results_by_class(verdict.report)["mean_error_modes"]
    found = load_predictions(files["predictions.npz"])
    assert [one.image_id for one in found.detections] == [r.image_id for r in inputs.test.image_set.records]
    assert {grid.shape for grid in found.maps.values()} == {(8, 8)}
    assert all(cv2.imread(str(files[name])) is not None for name in ("detections.png", "gallery.jpg"))


def test_a_verdict_without_corloc_keeps_no_error_modes(inputs: RunInputs, tmp_path: Path) -> None:
    judge, verdict = judged(small_experiment(**OICR), inputs, corloc=False)
    assert judge.keep(verdict, tmp_path).keys() == {
        "detections.png",
        "gallery.jpg",
        "precision_recall.json",
        "predictions.npz",
    }


def test_the_archive_for_the_server_of_voc_is_kept_where_it_is_asked_for(inputs: RunInputs, tmp_path: Path) -> None:
    experiment = small_experiment(**{"evaluation.comp4": "VOC2012"})
    judge, verdict = judged(experiment, inputs, corloc=False, pixels=False)
    with tarfile.open(judge.keep(verdict, tmp_path)["comp4.tar.gz"]) as archive:
        archive.extractall(tmp_path, filter="data")
    ids = [record.image_id for record in inputs.test.image_set.records]
    found = load_comp4(tmp_path / "results/VOC2012/Main", inputs.classes, ids, split="test")
    for before, after in zip(verdict.detections, found, strict=True):
        np.testing.assert_array_equal(after.scores, before.scores)


def test_coco_s_figures_are_judged_and_their_files_kept_where_they_are_asked_for(
    inputs: RunInputs, whole: tuple[Judge, Verdict], tmp_path: Path
) -> None:
    experiment = small_experiment(**{"evaluation.coco": True})
    judge, verdict = judged(experiment, inputs, pixels=False)
    result = Judgement.model_validate(told := results_by_class(verdict.report))
    assert result.coco is not None
    assert 0 < (result.coco.ar100 or 0) <= 1
    assert judged_metrics(told)["eval/coco/ap50"] == result.coco.ap50
    assert verdict.report.ap == whole[1].report.ap
    files = judge.keep(verdict, tmp_path)
    found = load_coco_results(inputs.test, files["detections.coco.json"])
    assert coco_figures(inputs.test, found) == verdict.report.coco
    info = json.loads(files["image_info.coco.json"].read_text())
    assert [category["name"] for category in info["categories"]] == list(inputs.classes)
    _, midway = judged(experiment, inputs, corloc=False, pixels=False)
    assert midway.report.coco is None


def test_a_judge_that_cannot_count_coco_s_figures_says_so_before_anything_is_trained(
    inputs: RunInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(BadInput, match="pycocotools"):
        Judge(small_experiment(**{"evaluation.coco": True}), inputs, Ranks.current(CPU))


@pytest.mark.integration
def test_two_ranks_come_to_the_verdict_of_one(whole: tuple[Judge, Verdict], cache: Path, tmp_path: Path) -> None:
    _, alone = whole
    on_two_ranks(_judge_as_rank, cache, tmp_path, meet=tmp_path / "meet")
    expected = results_by_class(alone.report)
    for rank in range(2):
        told = json.loads((tmp_path / f"{rank}.json").read_text())
        assert {name: value for name, value in told.items() if name != "seconds_per_image"} == {
            name: value for name, value in expected.items() if name != "seconds_per_image"
        }


def _judge_as_rank(rank: int, cache: Path, folder: Path) -> None:
    experiment = small_experiment()
    _, verdict = judged(experiment, inputs_of(experiment, cache))
    assert sorted(verdict.maps) == list(range(8))
    (folder / f"{rank}.json").write_text(json.dumps(results_by_class(verdict.report)))


def test_a_run_without_boxes_keeps_pictures_and_what_labels_allow(inputs: RunInputs, tmp_path: Path) -> None:
    bare = replace(
        inputs,
        test=replace(inputs.test, annotations=None, masks=None),
        judged_train=replace(inputs.judged_train, annotations=None),
    )
    judge, verdict = judged(small_experiment(), bare)
    told = results_by_class(verdict.report)
    result = Judgement.model_validate(told)
    assert result.without_boxes == ("test", "train")
    assert (result.mean_ap, result.mean_corloc, result.error_modes, result.coco) == (None, None, None, None)
    assert set(result.ap.values()) == set(result.corloc.values()) == {None}
    assert 0 < (result.mean_classification_ap or 0) <= 1
    assert judged_metrics(told).keys() == {
        "eval/mean_classification_ap",
        *(f"eval/classification_ap/{name}" for name, value in (result.classification_ap or {}).items() if value),
    }
    files = judge.keep(verdict, tmp_path)
    assert files.keys() == {"detections.png", "gallery.jpg", "predictions.npz"}
    assert all(cv2.imread(str(files[name])) is not None for name in ("detections.png", "gallery.jpg"))
    assert judge.chance().without_boxes == ("test", "train")
