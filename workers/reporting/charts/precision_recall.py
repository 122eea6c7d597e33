"""Precision over recall: one panel a class, one line a model."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import BaseModel, ValidationError

from workers.reporting.charts.style import drawn, legend_below, line_styles, percent_axis

COLUMNS = (4, 3, 5)
MAX_LINES = 7
"""more cannot be told apart in a panel of this size"""


class ClassCurve(BaseModel):
    ap: float | None
    recall: tuple[float, ...]
    precision: tuple[float, ...]


class PrecisionRecall(BaseModel):
    """What is read of a run's precision_recall.json."""

    split: str
    classes: dict[str, ClassCurve]


def read_precision_recall(artifacts: Path) -> PrecisionRecall | None:
    """The curves among a run's artifacts; None where there are none, or none that can be read."""
    try:
        return PrecisionRecall.model_validate(json.loads((artifacts / "precision_recall.json").read_bytes()))
    except (FileNotFoundError, ValueError, ValidationError):
        return None


def draw_precision_recall(models: Mapping[str, PrecisionRecall], path: Path) -> bool:
    """Draw the curves of at most MAX_LINES models, those first in the mapping; whether there is one to draw."""
    models = dict(list(models.items())[:MAX_LINES])
    classes = _classes(list(models.values()))
    if not classes:
        return False
    columns = min(len(classes), min(COLUMNS, key=lambda number: -len(classes) % number))  # the fewest empty places
    rows = math.ceil(len(classes) / columns)
    styles = line_styles(list(models))
    with drawn(path, height_inches=0.7 + 2.0 * rows) as figure:
        panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for axes in panels.flat[len(classes) :]:
            axes.set_visible(False)
        for place, (axes, name) in enumerate(zip(panels.flat, classes, strict=False)):
            for model, curves in models.items():
                curve = curves.classes.get(name)
                if curve is not None and curve.recall:
                    axes.plot(curve.recall, curve.precision, drawstyle="steps-post", label=model, **styles[model])
                else:
                    axes.plot([], [], label=model, **styles[model])
            axes.set_title(_title(name, list(models.values())))
            axes.set_xlim(0, 1.02)
            axes.set_ylim(0, 1.02)
            axes.set_xticks([0, 0.5, 1])
            axes.tick_params(labelbottom=place + columns >= len(classes))
            axes.set_yticks([0, 0.5, 1])
            percent_axis(axes)
            percent_axis(axes, "x")
            if place % columns == 0:
                axes.set_ylabel("precision, %")
            if place + columns >= len(classes):
                axes.set_xlabel("recall, %")
        if len(models) > 1:
            legend_below(figure, panels.flat[0])
    return True


def _classes(models: Sequence[PrecisionRecall]) -> list[str]:
    """Those that any model has, in the first model's order."""
    return list(dict.fromkeys(name for curves in models for name in curves.classes))


def _title(name: str, models: Sequence[PrecisionRecall]) -> str:
    ap = models[0].classes[name].ap if len(models) == 1 and name in models[0].classes else None
    return name if ap is None else f"{name}  {100 * ap:.0f}"
