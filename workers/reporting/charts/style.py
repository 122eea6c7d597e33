"""How all charts look: one font, one set of colours, sizes that are readable without zooming.

The colours are Okabe and Ito's, which people with any common colour blindness tell apart; series beyond them differ in
their dashes. Nothing here touches matplotlib's global figures, so charts may be drawn on any thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import NullFormatter

BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW, BLACK, GREY = "#E69F00", "#56B4E9", "#F0E442", "#000000", "#8C8C8C"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES = ("-", "--", ":", "-.")

DOTS_PER_INCH = 110
WIDTH_INCHES = 8.0
LETTERS_PER_LINE = 100
"""of a legend, at that width"""

SETTINGS: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 10.5,
    "text.parse_math": False,  # names come from clients, and may have a dollar in them
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
}


@contextmanager
def drawn(path: Path, *, height_inches: float, width_inches: float = WIDTH_INCHES) -> Iterator[Figure]:
    """A figure to draw in, written as a PNG at the end of the block."""
    with matplotlib.rc_context(dict(SETTINGS)):  # type: ignore[arg-type] # its type lists every setting there is
        figure = Figure(figsize=(width_inches, height_inches), dpi=DOTS_PER_INCH)
        FigureCanvasAgg(figure)
        yield figure
        partial = path.with_name(f".{path.name}.partial")
        figure.savefig(partial, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
        partial.replace(path)


def line_styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each name, by its place."""
    return {
        name: {
            "color": COLOURS[index % len(COLOURS)],
            "linestyle": DASHES[index // len(COLOURS) % len(DASHES)],
        }
        for index, name in enumerate(names)
    }


def percent_axis(axes: Axes, axis: str = "y") -> None:
    """Ticks of a share in [0, 1] as per cent."""
    chosen = axes.yaxis if axis == "y" else axes.xaxis
    chosen.set_major_formatter(lambda value, _: f"{100 * value:g}")


def plain_numbers(axes: Axes, axis: str) -> None:
    """Ticks as plain numbers, on logarithmic axes too, and none between them."""
    chosen = axes.yaxis if axis == "y" else axes.xaxis
    chosen.set_major_formatter(lambda value, _: f"{value:g}")
    chosen.set_minor_formatter(NullFormatter())


def legend_below(figure: FigureBase, axes: Axes) -> None:
    """One legend for all panels, where it hides nothing, as wide as its longest name allows."""
    handles, labels = axes.get_legend_handles_labels()
    columns = max(1, LETTERS_PER_LINE // (max(map(len, labels)) + 8))
    figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))
