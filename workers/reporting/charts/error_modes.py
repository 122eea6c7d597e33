"""How the best box of a class lies to its objects: the paper's figure 6, as stacked bars."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.axes import Axes

from workers.reporting.charts.style import BLUE, GREY, ORANGE, PURPLE, SKY, drawn, legend_below, percent_axis

Shares = Mapping[str, float]

MODES = {
    "correct": ("correct", BLUE),
    "inside": ("inside an object", ORANGE),
    "contains": ("contains an object", PURPLE),
    "overlap": ("overlaps one a little", SKY),
    "none": ("touches none", GREY),
}
"""in the paper's order: key in the results -> what it is called, its colour"""
PATTERNS = {"inside": "//", "overlap": "..", "none": "xx"}
"""so that the bars are told apart without colours too"""
AVERAGE = "average"


def draw_error_modes(means: Mapping[str, Shares], by_class: Mapping[str, Mapping[str, Shares]], path: Path) -> bool:
    """Draw a bar for each variant's average and, below, a panel of bars by class for each variant; whether there is
    anything to draw.

    Args:
        means: variant -> mode -> share of the images, averaged over classes.
        by_class: variant -> class -> mode -> share.
        path: of the PNG.
    """
    means = {variant: shares for variant, shares in means.items() if shares}
    if not means:
        return False
    details = {variant: by_class[variant] for variant in means if by_class.get(variant)}
    heights = [1.6 + 0.42 * len(means)] + [2.1 * len(details)] * bool(details)
    with drawn(path, height_inches=sum(heights)) as figure:
        # A layout each: the averages stand beside the variants' names, which would make all panels as narrow.
        sections = figure.subfigures(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        averages = sections[0].subplots()
        _draw_averages(averages, means)
        sections[0].suptitle(
            "Best boxes of the training images, average over classes, %", x=0.01, ha="left", size=11, weight="bold"
        )
        legend_below(sections[0], averages)
        if details:
            panels = sections[1].subplots(len(details), 1, squeeze=False)[:, 0]
            for axes, (variant, classes) in zip(panels, details.items(), strict=True):
                _draw_classes(axes, variant, {**classes, AVERAGE: means[variant]})
    return True


def _draw_averages(axes: Axes, means: Mapping[str, Shares]) -> None:
    names = list(means)
    left = [0.0] * len(names)
    for mode, (label, colour) in MODES.items():
        shares = [means[name].get(mode, 0.0) for name in names]
        bars = axes.barh(
            names,
            shares,
            left=left,
            label=label,
            color=colour,
            hatch=PATTERNS.get(mode),
            edgecolor="white",
            height=0.66,
        )
        for bar, share in zip(bars, shares, strict=True):
            if share >= 0.06:
                centre = (bar.get_x() + bar.get_width() / 2, bar.get_y() + bar.get_height() / 2)
                box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}
                axes.annotate(f"{100 * share:.0f}", centre, ha="center", va="center", fontsize=9.5, bbox=box)
        left = [before + share for before, share in zip(left, shares, strict=True)]
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.grid(visible=False, axis="y")
    percent_axis(axes, "x")


def _draw_classes(axes: Axes, variant: str, classes: Mapping[str, Shares]) -> None:
    names = list(classes)
    places = [index + (0.5 if name == AVERAGE else 0.0) for index, name in enumerate(names)]
    bottom = [0.0] * len(names)
    for mode, (_, colour) in MODES.items():
        shares = [classes[name].get(mode, 0.0) for name in names]
        axes.bar(places, shares, bottom=bottom, color=colour, hatch=PATTERNS.get(mode), edgecolor="white", width=0.78)
        bottom = [before + share for before, share in zip(bottom, shares, strict=True)]
    axes.set_xticks(places, names, rotation=0 if len(names) <= 9 else 50, ha="center" if len(names) <= 9 else "right")
    axes.set_ylim(0, 1)
    axes.grid(visible=False, axis="x")
    percent_axis(axes)
    axes.set_title(variant)
