"""Losses, gradient norms and learning rates of one training over its optimizer steps."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from workers.reporting.charts.style import drawn, line_styles, plain_numbers
from workers.reporting.series import Series

PANELS = (
    ("loss/", "Losses, each unscaled", "loss"),
    ("gradient/", "Gradient norms, of each term and of all", "norm"),
    ("rate/", "Learning rates", "rate"),
)
NOISY = ("loss", "norm")
"""the panels whose lines are smoothed"""
SMOOTHED_ABOVE = 60
"""points from which on a running mean is drawn over the values themselves"""


def draw_training_curves(series: Mapping[str, Series], path: Path) -> bool:
    """Draw those panels for which there are series; whether there were any, and `path` is written."""
    panels = [
        (title, label, {name.removeprefix(prefix): s for name, s in series.items() if name.startswith(prefix)})
        for prefix, title, label in PANELS
    ]
    panels = [panel for panel in panels if panel[2]]
    if not panels:
        return False
    styles = line_styles(list(dict.fromkeys(name for _, _, lines in panels for name in sorted(lines))))
    with drawn(path, height_inches=0.4 + 2.9 * len(panels)) as figure:
        rows = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (title, label, lines) in zip(rows, panels, strict=True):
            _draw_panel(axes, lines, styles, smooth=label in NOISY)
            axes.set_title(title)
            axes.set_ylabel(label)
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        rows[-1].set_xlabel("optimizer steps over all stages")
    return True


def _draw_panel(axes: Axes, lines: Mapping[str, Series], styles: Mapping[str, dict[str, Any]], *, smooth: bool) -> None:
    positive = True
    for name in sorted(lines):
        steps, values = np.array(lines[name].steps), np.array(lines[name].values, dtype=float)
        positive &= bool((values[np.isfinite(values)] > 0).all())
        marker = "o" if len(steps) == 1 else ""
        if smooth and len(steps) > SMOOTHED_ABOVE:
            axes.plot(steps, values, color=styles[name]["color"], alpha=0.22, linewidth=0.9)
            values = _running_mean(values, math.ceil(len(values) / 40))
        axes.plot(steps, values, label=name, marker=marker, markersize=4, **styles[name])
    if positive:
        axes.set_yscale("log")
        plain_numbers(axes, "y")


def _running_mean(values: np.ndarray, width: int) -> np.ndarray:
    """The mean over `width` neighbours on either side, fewer at the ends; values that are not finite do not count."""
    known = np.isfinite(values)
    sums = np.cumsum(np.concatenate([[0.0], np.where(known, values, 0.0)]))
    counts = np.cumsum(np.concatenate([[0], known]))
    index = np.arange(len(values))
    low, high = np.maximum(index - width, 0), np.minimum(index + width + 1, len(values))
    number = counts[high] - counts[low]
    return np.where(number > 0, (sums[high] - sums[low]) / np.maximum(number, 1), np.nan)
