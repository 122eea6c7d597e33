import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from sdcn_core.errors import BadInput
from sdcn_core.evaluation.detections import select_detections
from sdcn_core.export import exporting
from sdcn_core.export.card import ModelCard
from sdcn_core.export.detector import detector_of
from sdcn_core.export.exporting import ExportFailed, export_model
from sdcn_core.export.onnx_model import run_onnx
from sdcn_core.export.probe import probe_input
from sdcn_core.export.torch_program import run_program
from sdcn_core.structures.annotation import Detections
from sdcn_core.structures.box_deltas import decode_boxes
from tests.sdcn_core.export.conftest import Exported
from tests.sdcn_core.export.saved_models import CLASSES, experiment_of, write_model

ROOT = Path(__file__).parents[3]
BACKBONES = ("small_vgg", "squeezenet1_1", "vgg16_d8", "mobilenet_v2")
SIZES = ((83, 117), (64, 64), (33, 200), (97, 9))
MEASURED_DIFFERENCE = 1e-5
"""of ONNX; 3e-6 was the largest seen"""

Exporter = Callable[..., Exported]


def image_and_boxes(height: int, width: int, *, proposals: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise, and boxes of all kinds: whole image, strips of a pixel along its edges, one pixel, random ones."""
    draw = torch.Generator().manual_seed(seed)
    corners = torch.rand(proposals, 2, 2, generator=draw) * torch.tensor([width - 1.0, height - 1.0])
    drawn = torch.cat([corners.amin(dim=1), corners.amax(dim=1) + 1], dim=1)
    edges = [[0, 0, width, height], [0, 0, width, 1], [width - 1, 0, width, height], [width - 1, height - 1] * 2]
    named = torch.tensor(edges).float()
    named[-1, 2:] += 1
    return torch.rand(1, 3, height, width, generator=draw) * 255, torch.cat([named, drawn])[:proposals]


def suppressed(scores: np.ndarray, boxes: torch.Tensor) -> Detections:
    """What evaluation would keep."""
    settings = {"nms_iou": 0.3, "boxes_per_class": 100, "boxes_per_image_cap": 100}
    return select_detections(["image"], [scores], [boxes.numpy()], **settings)[0]


@pytest.mark.parametrize("refinements", [3, 0])
def test_the_detector_equals_the_networks_own_detection_bit_for_bit(exported: Exporter, refinements: int) -> None:
    saved, _ = exported("small_vgg", refinements)
    image, boxes = probe_input()
    assert torch.equal(detector_of(saved.network)(image, boxes), saved.network.detect(image, (boxes,))[0].scores)


REGRESSING = pytest.mark.parametrize(
    "options", [{"box_regression": True}, {"second_stage": True}], ids=["sdcn", "fast_rcnn"]
)
"""models that move boxes: SDCN with box regression, and what a second stage trains"""


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_program_equals_the_model_bit_for_bit_at_any_size(exported: Exporter, backbone: str) -> None:
    saved, files = exported(backbone)
    program = torch.export.load(files["model.pt2"]).module()
    for height, width in SIZES:
        for proposals in (40, 1):
            image, boxes = image_and_boxes(height, width, proposals=proposals)
            assert torch.equal(program(image, boxes), saved.network.detect(image, (boxes,))[0].scores)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_onnx_finds_the_same_boxes_with_scores_equal_within_rounding(exported: Exporter, backbone: str) -> None:
    saved, files = exported(backbone)
    for height, width in (*SIZES, (8, 60), (1, 1)):
        for proposals in (40, 1):
            image, boxes = image_and_boxes(height, width, proposals=proposals)
            own = saved.network.detect(image, (boxes,))[0].scores.numpy()
            (scores,) = run_onnx(files["model.onnx"], image, boxes)
            np.testing.assert_allclose(scores, own, rtol=0, atol=MEASURED_DIFFERENCE)
            found, expected = suppressed(scores, boxes), suppressed(own, boxes)
            np.testing.assert_array_equal(found.boxes, expected.boxes)
            np.testing.assert_array_equal(found.classes, expected.classes)


def test_without_refinements_both_files_give_the_scores_of_midn(exported: Exporter) -> None:
    saved, files = exported("small_vgg", 0)
    image, boxes = image_and_boxes(70, 50, proposals=30)
    own = saved.network.detect(image, (boxes,))[0].scores
    assert (own.sum(dim=0) <= 1 + 1e-6).all()
    assert torch.equal(run_program(files["model.pt2"], image, boxes)[0], own)
    np.testing.assert_allclose(run_onnx(files["model.onnx"], image, boxes)[0], own, rtol=0, atol=MEASURED_DIFFERENCE)


@REGRESSING
def test_with_box_regression_both_files_also_say_where_the_boxes_go(
    exported: Exporter, options: dict[str, bool]
) -> None:
    saved, files = exported("small_vgg", **options)
    for proposals in (40, 1):
        image, boxes = image_and_boxes(70, 50, proposals=proposals)
        own = saved.network.detect(image, (boxes,))[0]
        assert own.deltas is not None
        moved = decode_boxes(boxes, own.deltas)
        assert (moved - boxes[:, None]).abs().max() > 1  # the made-up weights do move them
        scores, found = run_program(files["model.pt2"], image, boxes)
        assert torch.equal(scores, own.scores)
        assert torch.equal(found, moved)
        scores_by_onnx, found_by_onnx = run_onnx(files["model.onnx"], image, boxes)
        np.testing.assert_allclose(scores_by_onnx, own.scores, rtol=0, atol=MEASURED_DIFFERENCE)
        np.testing.assert_allclose(found_by_onnx, moved, rtol=1e-4, atol=1e-2)
    card = json.loads(files["model.json"].read_text())
    assert card["contract"]["boxes"].startswith("float32 (N, C, 4)")
    assert '["scores", "boxes"]' in card["files"]["model.onnx"]["run"][-1]
    assert (card["network"], card["refinements"]) == (
        ("sdcn", 3) if "box_regression" in options else ("fast_rcnn", None)
    )


def test_a_fast_rcnn_with_pool4_is_exported_at_its_stride(exported: Exporter) -> None:
    saved, files = exported("vgg16_d8", second_stage=True)
    assert json.loads(files["model.json"].read_text())["stride"] == 16
    image, boxes = image_and_boxes(83, 117, proposals=40)
    own = saved.network.detect(image, (boxes,))[0]
    assert torch.equal(run_program(files["model.pt2"], image, boxes)[0], own.scores)
    scores, moved = run_onnx(files["model.onnx"], image, boxes)
    np.testing.assert_allclose(scores, own.scores, rtol=0, atol=MEASURED_DIFFERENCE)
    assert own.deltas is not None
    np.testing.assert_allclose(moved, decode_boxes(boxes, own.deltas), rtol=1e-4, atol=1e-2)


def already_translated(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model of these files, whose translation to ONNX, which takes seconds, is not made again but copied."""

    def copied(program: object, path: Path, *, properties: object) -> None:
        shutil.copy(files["model.onnx"], path)

    monkeypatch.setattr(exporting, "export_onnx", copied)
    return files["model.onnx"].parent / "model.pt"


def test_a_file_whose_boxes_differ_is_not_kept(
    exported: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def moved_by_a_pixel(path: Path, image: torch.Tensor, proposals: torch.Tensor) -> tuple[np.ndarray, ...]:
        scores, boxes = run_onnx(path, image, proposals)
        return scores, boxes + 1

    path = already_translated(exported(box_regression=True)[1], monkeypatch)
    monkeypatch.setattr(exporting, "run_onnx", moved_by_a_pixel)
    with pytest.raises(ExportFailed, match=r"model\.onnx of model .* differently by 0\.008"):
        export_model(path, tmp_path / "out")


def test_the_program_refuses_an_image_of_a_single_cell_as_its_card_says(exported: Exporter) -> None:
    _, files = exported()
    side = json.loads(files["model.json"].read_text())["contract"]["program_min_side_px"]
    image, boxes = image_and_boxes(side, side, proposals=3)
    assert run_program(files["model.pt2"], image, boxes)[0].shape == (3, len(CLASSES))
    with pytest.raises(AssertionError, match="Guard failed"):
        run_program(files["model.pt2"], image[:, :, : side - 1], boxes)


def test_the_program_needs_the_operator_and_no_network_of_ours(exported: Exporter) -> None:
    _, files = exported()
    code = (
        "import sys, torch, sdcn_core.export.operator;"
        f"scores = torch.export.load({str(files['model.pt2'])!r}).module()"
        "(torch.zeros(1, 3, 40, 30), torch.tensor([[0.0, 0.0, 30.0, 40.0]]));"
        "assert scores.shape == (1, 4);"
        "assert 'sdcn_core.models.sdcn' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0


def test_the_card_and_both_files_say_what_the_model_is(exported: Exporter) -> None:
    saved, files = exported()
    card = json.loads(files["model.json"].read_text())
    assert (card["classes"], card["model_sha256"], card["stride"]) == (list(CLASSES), saved.sha256, 8)
    assert card["files"]["model.pt2"]["largest_difference"] == 0
    properties = {entry.key: entry.value for entry in onnx.load(files["model.onnx"]).metadata_props}
    assert json.loads(properties["sdcn.classes"]) == list(CLASSES)
    assert json.loads(properties["sdcn.normalisation"])["mean"] == [127.5] * 3
    assert (properties["sdcn.stride"], properties["sdcn.model_sha256"]) == ("8", saved.sha256)
    notes = {"model.json": ""}
    torch.export.load(files["model.pt2"], extra_files=notes)
    assert json.loads(notes["model.json"])["experiment_digest"] == saved.experiment.digest()


@pytest.mark.parametrize(
    ("testing", "searched"),
    [
        ({"test_scales_px": None}, 640),
        ({"test_scales_px": [480, 1200], "test_side": "longest"}, 1200),
        ({"test_scales_px": [480, 1200], "test_side": "shortest"}, None),
    ],
)
def test_the_card_says_at_which_size_a_predictor_searches(
    exported: Exporter, testing: dict[str, object], searched: int | None
) -> None:
    saved, _ = exported()
    experiment = saved.experiment.with_overrides({f"evaluation.{name}": value for name, value in testing.items()})
    assert ModelCard.of(replace(saved, experiment=experiment)).testing.search_side_px == searched


def test_the_card_says_which_boxes_stay_by_the_protocol_of_the_model(exported: Exporter) -> None:
    saved, _ = exported()
    by_class = ModelCard.of(saved).testing
    assert (by_class.boxes_per_class, by_class.score_threshold, by_class.boxes_per_image) == (100, None, None)
    experiment = saved.experiment.with_overrides({"evaluation.protocol": "pcl", "evaluation.pcl.nms_iou": 0.4})
    by_image = ModelCard.of(replace(saved, experiment=experiment)).testing
    assert (by_image.boxes_per_class, by_image.score_threshold, by_image.boxes_per_image) == (None, 1e-5, 100)
    assert (by_class.nms_iou, by_image.nms_iou) == (0.3, 0.4)


def test_the_axes_of_the_onnx_file_have_names_and_its_operators_are_standard(exported: Exporter) -> None:
    model = onnx.load(exported()[1]["model.onnx"], load_external_data=False)
    axes = [[axis.dim_param or axis.dim_value for axis in i.type.tensor_type.shape.dim] for i in model.graph.input]
    assert axes == [[1, 3, "height", "width"], ["proposals", 4]]
    assert {entry.domain for entry in model.opset_import} == {""}
    assert "MaxRoiPool" in {node.op_type for node in model.graph.node}


def test_the_files_do_not_tell_where_this_package_lies(exported: Exporter) -> None:
    for path in exported()[1].values():
        assert str(ROOT).encode() not in path.read_bytes()


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_what_to_install(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    path = write_model(tmp_path / "model.pt", experiment_of())
    with pytest.raises(BadInput, match=rf"the package {package} .*pip install 'sdcn\[export\]'"):
        export_model(path, tmp_path / "out")


def test_the_package_imports_without_onnx() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('onnx', 'onnxscript', 'onnxruntime')));"
        "import sdcn_core.export.exporting"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=120).returncode == 0


def test_a_file_that_scores_differently_is_not_kept(
    exported: Exporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = already_translated(exported()[1], monkeypatch)
    monkeypatch.setattr(exporting, "run_onnx", lambda *arguments: (run_onnx(*arguments)[0] + np.float32(0.01),))
    with pytest.raises(ExportFailed, match=r"model\.onnx of model .* scores differently by 0\.01"):
        export_model(path, tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["model.pt2"]
