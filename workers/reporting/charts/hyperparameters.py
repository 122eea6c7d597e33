"""A sweep's metric against each searched field: the paper's figure 5."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from pydantic import JsonValue

from service.jobs.runs import short_value
from service.jobs.study_results import CurvePoint, RunState, SweepResults
from workers.reporting.charts.style import BLUE, GREY, VERMILION, drawn, percent_axis, plain_numbers

COLUMNS = 3
LOG_FROM = 10.0
"""ratio of the largest to the smallest value from which on the axis is logarithmic"""


def draw_hyperparameters(results: SweepResults, path: Path) -> bool:
    """One panel a field: the curve and its spread over seeds or, where trials share no values (random and Optuna
    searches), a dot a trial. The best trial is marked. Whether there is anything to draw.
    """
    fields = list(results.curves) or sorted({field for run in results.runs for field in run.overrides})
    if not fields or all(run.value is None for run in results.runs):
        return False
    columns = min(COLUMNS, len(fields))
    rows = math.ceil(len(fields) / columns)
    with drawn(path, height_inches=0.5 + 2.5 * rows) as figure:
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes in panels.flat[len(fields) :]:
            axes.set_visible(False)
        for axes, field in zip(panels.flat, fields, strict=False):
            if field in results.curves:
                _draw_curve(axes, results.curves[field])
            else:
                _draw_trials(axes, results, field)
            axes.set_title(field.rpartition(".")[2])
            if is_share(results.metric):
                percent_axis(axes)
        figure.supylabel(metric_title(results.metric) + (", %" if is_share(results.metric) else ""), fontsize=10.5)
    return True


def _draw_curve(axes: Axes, curve: Sequence[CurvePoint]) -> None:
    known = [(point.value, point.measure) for point in curve if point.measure is not None]
    places = _axis(axes, [point.value for point in curve])
    x = [places(value) for value, _ in known]
    means = [spread.mean for _, spread in known]
    low = [spread.mean - (spread.std or 0.0) for _, spread in known]
    high = [spread.mean + (spread.std or 0.0) for _, spread in known]
    axes.fill_between(x, low, high, color=BLUE, alpha=0.18, linewidth=0)
    axes.plot(x, means, marker="o", markersize=5, color=BLUE)


def _draw_trials(axes: Axes, results: SweepResults, field: str) -> None:
    tried = [(run, run.value) for run in results.runs if run.value is not None and field in run.overrides]
    places = _axis(axes, [run.overrides[field] for run, _ in tried])
    for run, value in tried:
        best, stopped = run.name == results.best, run.state is RunState.STOPPED_EARLY
        axes.plot(
            places(run.overrides[field]),
            value,
            marker="*" if best else "x" if stopped else "o",
            markersize=13 if best else 6,
            color=VERMILION if best else GREY if stopped else BLUE,
            linestyle="",
            zorder=3 if best else 2,
        )


class _Places:
    """Where a value stands on the x axis: numbers at themselves, anything else side by side."""

    def __init__(self, values: Sequence[JsonValue]) -> None:
        self.numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        self.names = list(dict.fromkeys(short_value(value) for value in values))

    def __call__(self, value: JsonValue) -> float:
        return float(value) if self.numeric else float(self.names.index(short_value(value)))  # type: ignore[arg-type]


def _axis(axes: Axes, values: Sequence[JsonValue]) -> _Places:
    """Set the x axis up for the values."""
    places = _Places(values)
    if not places.numeric:
        axes.set_xticks(range(len(places.names)), places.names)
        axes.set_xlim(-0.6, len(places.names) - 0.4)
        return places
    axes.margins(x=0.08)
    numbers = [places(value) for value in values]
    if numbers and min(numbers) > 0 and max(numbers) / min(numbers) >= LOG_FROM:
        axes.set_xscale("log")
        plain_numbers(axes, "x")
    if len(set(numbers)) <= 6:
        axes.set_xticks(sorted(set(numbers)), [f"{number:g}" for number in sorted(set(numbers))])
    return places


def metric_title(metric: str) -> str:
    """What a metric is called in charts and tables."""
    return {
        "eval/mean_ap": "mAP",
        "eval/mean_classification_ap": "classification mAP",
        "eval/mean_corloc": "CorLoc",
        "eval/mean_iou": "mIoU",
    }.get(metric, metric)


def is_share(metric: str) -> bool:
    """Whether the metric is one of the evaluation's, which all are shares in [0, 1]."""
    return metric.startswith("eval/")
