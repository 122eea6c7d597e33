"""The pieces of benchmarks/full_size.py; whole, it takes minutes."""

import pytest
import torch

from benchmarks.full_size import PRECISIONS, Case, header, matrix_rate, parse, random_image, rows
from benchmarks.full_size_counts import (
    KNOBS,
    SCALES,
    Flops,
    counted_ratio,
    experiment_of,
    kept_gigabytes,
    part_costs,
    sides,
)

CASE = Case("cpu", 688, "fp32", "off", 2000, 2, 1)
FOUND = {
    "oicr": {"peak_bytes": 4.04e9, "flops": 2.65e12},
    "sdcn": {"peak_bytes": 7.16e9, "flops": 3.71e12},
    "times": {"oicr": 2.0, "sdcn": 3.0, "matrix": 2.65e12},
}


@pytest.fixture(scope="module")
def costs() -> dict[str, float]:
    return part_costs(688, proposals=2000, present=2)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("f_E forward", 245.0),
        ("f_D forward", 205.5 + 33.6),
        ("f_S", 59.0),
        ("f_C before the masks, forward", 88.7),
        ("f_C of one mask, forward", 10.5),
    ],
)
def test_the_modules_cost_what_arithmetic_on_their_layers_says(
    costs: dict[str, float], part: str, expected: float
) -> None:
    assert costs[part] == pytest.approx(expected, rel=0.1 if part == "f_S" else 0.01)


def test_oicr_s_step_costs_what_arithmetic_says_with_conv1_and_conv2_frozen(costs: dict[str, float]) -> None:
    assert costs["f_E"] + costs["f_D"] == pytest.approx(1323, rel=0.01)


def test_sdcn_costs_about_1_4_times_oicr_at_voc_s_classes_an_image() -> None:
    assert counted_ratio(688, proposals=2000, positives=1.458) == pytest.approx(1.39, rel=0.04)


def test_the_knobs_let_every_part_but_f_s_keep_less_and_f_c_less_than_a_quarter() -> None:
    off, on = (kept_gigabytes(480, proposals=2000, present=3, knobs=knobs) for knobs in ("off", "on"))
    assert on["f_S"] == off["f_S"]
    assert all(on[part] < 0.7 * off[part] for part in ("f_E", "f_D", "f_C"))
    assert on["f_C"] < off["f_C"] / 4


def test_recomputed_and_backward_products_count() -> None:
    a, b = torch.ones(3, 4, requires_grad=True), torch.ones(4, 5, requires_grad=True)
    with Flops() as counter:
        (a @ b).sum().backward()
    assert counter.total == 3 * (2 * 3 * 4 * 5)


def test_a_cpu_measures_one_scale_in_fp32_unless_asked_otherwise() -> None:
    options = parse(["--device", "cpu"])
    assert (options.scales, options.precisions, options.knobs) == ([688], ["fp32"], ["off", "on"])


def test_a_gpu_measures_all_scales_in_all_precisions() -> None:
    options = parse(["--device", "cuda"])
    assert (options.scales, options.precisions) == (list(SCALES), list(PRECISIONS))


def test_what_is_asked_for_is_measured() -> None:
    options = parse(["--scales", "480", "576", "--precisions", "bf16", "--knobs", "on", "--rounds", "3"])
    assert (options.scales, options.precisions, options.knobs, options.rounds) == ([480, 576], ["bf16"], ["on"], 3)


@pytest.mark.parametrize("arguments", [["--knobs", "half"], ["--precisions", "fp16"], ["--scales", "large"]])
def test_what_there_is_not_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(arguments)
    assert arguments[1] in capsys.readouterr().err


def test_the_table_shows_ratios_and_the_share_of_the_peak() -> None:
    oicr, sdcn = (line.strip("| ").split(" | ") for line in rows(CASE, FOUND, with_times=True))
    assert oicr[3:8] == ["OICR", "2.65", "4.0", "2.000", "50%"]
    assert sdcn[3:] == ["SDCN", "3.71", "7.2", "3.000", "47%", "1.40", "1.50"]


def test_beside_other_work_the_table_has_ratios_alone() -> None:
    lines = [*header(with_times=False), *rows(CASE, FOUND, with_times=False)]
    assert {line.count("|") for line in lines} == {9}
    assert lines[-1].endswith("| 3.71 | 7.2 | 1.40 | 1.50 |")
    assert "s a step" not in lines[0]


def test_what_fails_is_said_to_have_failed() -> None:
    lines = rows(CASE, {"oicr": FOUND["oicr"], "sdcn": None, "times": None}, with_times=True)
    assert "failed" not in lines[0].split("| OICR |")[1].split("|")[1]
    assert lines[1].count("failed") == 3


@pytest.mark.parametrize("knobs", KNOBS)
@pytest.mark.parametrize("method", ["oicr", "sdcn"])
def test_every_case_is_an_experiment_with_the_paper_s_networks(method: str, knobs: str) -> None:
    experiment = experiment_of(method, "bf16", knobs)
    assert experiment.objective.segmentation_branch == (method == "sdcn")
    assert (experiment.model.backbone.kind, experiment.model.classifier.kind) == ("vgg16_d8", "resnet101")
    assert (experiment.model.detection.proposal_chunk is not None) == (knobs == "on")


def test_images_are_as_a_step_takes_them() -> None:
    batch = random_image(96, 7, positives=2, device="cpu")
    height, width = sides(96)
    (boxes,) = batch.proposals
    assert batch.images.shape == (1, 3, height, width)
    assert batch.image_labels.sum() == 2
    assert len(boxes) == 7
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert boxes.min() >= 0
    assert (boxes[:, 2:] <= torch.tensor([width, height])).all()


def test_a_matrix_product_has_a_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.full_size.MATRIX_SIDE", {"cpu": 64})
    assert matrix_rate(CASE) > 1e6
