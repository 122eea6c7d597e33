from pathlib import Path

import cv2
import pytest

from tests.workers.reporting.samples import (
    CLASSES,
    ablation_results,
    ablation_spec,
    figure_5_results,
    figure_5_spec,
    judgement,
    random_results,
    write_artifacts,
    write_spool,
)
from workers.reporting.charts.ablation_bars import draw_ablation_bars
from workers.reporting.charts.error_modes import draw_error_modes
from workers.reporting.charts.hyperparameters import draw_hyperparameters
from workers.reporting.charts.precision_recall import PrecisionRecall, draw_precision_recall, read_precision_recall
from workers.reporting.charts.style import COLOURS, line_styles
from workers.reporting.charts.training_curves import draw_training_curves
from workers.reporting.series import Series, read_spools

LARGEST_BYTES = 300 * 1024
VOC = tuple(f"class {number}" for number in range(20))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chart.png"


def check(path: Path) -> None:
    """It is a picture that does not weigh much and has something in it."""
    pixels = cv2.imread(str(path))
    assert pixels is not None
    assert pixels.shape[1] == 880
    assert (pixels < 128).any()
    assert path.stat().st_size <= LARGEST_BYTES


def test_curves_of_a_training(tmp_path: Path, path: Path) -> None:
    write_spool(tmp_path)
    assert draw_training_curves(read_spools(tmp_path).series, path)
    check(path)


def test_a_single_point_and_a_value_that_is_not_finite_are_drawn(path: Path) -> None:
    assert draw_training_curves({"loss/mil": Series([1], [0.5]), "loss/ref": Series([1, 2], [float("nan"), 0.0])}, path)
    check(path)


def test_a_run_without_losses_has_no_curves(path: Path) -> None:
    assert not draw_training_curves({"eval/mean_ap": Series([1], [0.5])}, path)
    assert not path.exists()


@pytest.mark.parametrize("classes", [("one",), CLASSES, VOC], ids=len)
def test_precision_and_recall_of_any_number_of_classes(tmp_path: Path, path: Path, classes: tuple[str, ...]) -> None:
    write_artifacts(tmp_path, classes=classes)
    curves = read_precision_recall(tmp_path)
    assert curves is not None
    assert draw_precision_recall({"detection alone (OICR)": curves, "the loop closed (SDCN)": curves}, path)
    check(path)


def test_a_class_without_objects_has_an_empty_panel(path: Path) -> None:
    told = {"split": "test", "classes": {"disc": {"ap": None, "recall": [], "precision": []}}}
    assert draw_precision_recall({"trained": PrecisionRecall.model_validate(told)}, path)


@pytest.mark.parametrize("text", ["", "{}", "[1]"])
def test_curves_that_cannot_be_read_are_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "precision_recall.json").write_text(text)
    assert read_precision_recall(tmp_path) is None


@pytest.mark.parametrize("classes", [("one",), CLASSES, VOC], ids=len)
def test_error_modes_of_any_number_of_classes(path: Path, classes: tuple[str, ...]) -> None:
    judged = {f"variant {number}": judgement(0.5, number, classes) for number in range(4)}
    means = {name: of.mean_error_modes or {} for name, of in judged.items()}
    by_class = {name: {c: m for c, m in (of.error_modes or {}).items() if m} for name, of in judged.items()}
    assert draw_error_modes(means, by_class, path)
    check(path)


def test_variants_without_error_modes_have_no_chart(path: Path) -> None:
    assert not draw_error_modes({"sdcn": {}}, {"sdcn": {}}, path)


@pytest.mark.parametrize("seeds", [[0], [0, 1, 2]])
def test_bars_of_an_ablation(path: Path, seeds: list[int]) -> None:
    assert draw_ablation_bars(ablation_results(ablation_spec(seeds=seeds)), path)
    check(path)


def test_an_ablation_of_which_every_run_failed_has_no_bars(path: Path) -> None:
    results = ablation_results(ablation_spec())
    empty = [row.model_copy(update={"measures": dict.fromkeys(row.measures)}) for row in results.rows]
    assert not draw_ablation_bars(results.model_copy(update={"rows": tuple(empty)}), path)


def test_the_five_curves_of_figure_5(path: Path) -> None:
    assert draw_hyperparameters(figure_5_results(figure_5_spec()), path)
    check(path)


def test_a_search_without_curves_shows_its_trials(path: Path) -> None:
    assert draw_hyperparameters(random_results(), path)
    check(path)


def test_a_sweep_without_a_value_has_no_chart(path: Path) -> None:
    results = random_results()
    runs = tuple(run.model_copy(update={"value": None}) for run in results.runs)
    assert not draw_hyperparameters(results.model_copy(update={"runs": runs, "best": None}), path)


def test_a_name_with_dollars_is_no_formula(path: Path) -> None:
    shares = judgement(0.5).mean_error_modes or {}
    assert draw_error_modes({r"$\broken$": shares}, {r"$\broken$": {r"$\frac": shares}}, path)
    check(path)


def test_no_two_series_of_a_chart_look_alike() -> None:
    styles = line_styles([str(number) for number in range(3 * len(COLOURS))])
    assert len({tuple(style.values()) for style in styles.values()}) == len(styles)
