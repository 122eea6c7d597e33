"""The rows of an ablation side by side: a panel a measure, a bar a row, a dot a seed."""

import math
from collections.abc import Sequence
from pathlib import Path

from service.jobs.study_results import MEASURES, AblationResults
from workers.reporting.charts.style import BLACK, BLUE, GREY, drawn, percent_axis

TITLES = {
    "mean_ap": "mAP",
    "mean_classification_ap": "classification mAP",
    "mean_corloc": "CorLoc",
    "mean_iou": "mIoU",
}


def draw_ablation_bars(results: AblationResults, path: Path) -> bool:
    """Draw the mean over seeds, its standard deviation and each seed's value, the base row in grey; whether there is a
    measure to draw.
    """
    rows = results.rows
    measures = [m for m in MEASURES if any(row.measures.get(m) is not None for row in rows)]
    if not measures:
        return False
    places = list(range(len(rows)))
    with drawn(path, height_inches=1.1 + 0.5 * len(rows)) as figure:
        panels = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for axes, measure in zip(panels, measures, strict=True):
            spreads = [row.measures.get(measure) for row in rows]
            axes.barh(
                places,
                [0.0 if spread is None else spread.mean for spread in spreads],
                xerr=[0.0 if spread is None or spread.std is None else spread.std for spread in spreads],
                color=[GREY if row.variant == results.base_variant else BLUE for row in rows],
                alpha=0.85,
                height=0.62,
                error_kw={"ecolor": BLACK, "capsize": 3, "linewidth": 1.2},
            )
            for place, row in zip(places, rows, strict=True):
                values = _values(results, row.variant, measure)
                if len(values) > 1:
                    axes.plot(
                        values,
                        [place] * len(values),
                        "o",
                        markersize=4,
                        markerfacecolor="white",
                        color=BLACK,
                        alpha=0.9,
                    )
            axes.set_title(f"{TITLES[measure]}, %")
            axes.grid(visible=False, axis="y")
            axes.set_xlim(left=0)
            percent_axis(axes, "x")
        panels[0].set_yticks(places, [_wrapped(row.title) for row in rows])
        panels[0].invert_yaxis()
    return True


def _values(results: AblationResults, variant: str, measure: str) -> Sequence[float]:
    values = [
        getattr(run.judgement, measure) for run in results.runs if run.variant == variant and run.judgement is not None
    ]
    return [value for value in values if value is not None and math.isfinite(value)]


def _wrapped(title: str, width: int = 24) -> str:
    """The title in at most two lines."""
    if len(title) <= width:
        return title
    cut = title.rfind(" ", 0, width + 1)
    head, tail = (title[:width], title[width:]) if cut <= 0 else (title[:cut], title[cut + 1 :])
    return f"{head}\n{tail if len(tail) <= width else tail[: width - 1] + '…'}"
