"""A line chart as geometry: all numbers of the drawing, for a template to write as SVG.

Coordinates are SVG user units, x to the right and y down, origin at the top left.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from service.web.charts.scales import Scale, tick_text

MAX_POINTS = 160
"""drawn of a line; more could not be told apart"""
TABLE_ROWS = 12
"""of the table that says the same as the picture"""
COLOURS = 8
"""how many the style sheet knows; further lines begin again"""
_GLYPH = 6.4
"""about the width of a digit at the size of tick labels"""

Point = tuple[float, float]
Goal = Literal["max", "min"]


@dataclass(frozen=True)
class Line:
    """Finite values at increasing x."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Section:
    """A named stretch of the x axis, such as a stage of the training."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True)
class Tick:
    at: float
    text: str


@dataclass(frozen=True)
class Drawn:
    """One line in the picture and in the legend."""

    name: str
    colour: int
    """1 to COLOURS"""
    path: str
    told: Point
    """the point that the legend speaks of: the last, or the best"""
    told_at: Point
    """its place"""
    single: bool
    """one point only, which a path would not show"""
    marks: tuple[Point, ...]
    """places to dot, where points are few"""


@dataclass(frozen=True)
class Marked:
    """A section's label and where the line before it goes."""

    name: str
    x: float
    label_x: float
    fits: bool
    """whether there is room for the label"""


@dataclass(frozen=True)
class Picture:
    """One size of the drawing."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Drawn, ...]
    sections: tuple[Marked, ...]


@dataclass(frozen=True)
class TableRow:
    x: str
    values: tuple[float | None, ...]


@dataclass(frozen=True)
class LineChart:
    """A chart: the same lines for wide and narrow screens, and as a table."""

    id: str
    title: str
    description: str
    x_label: str
    y_label: str
    logarithmic: bool
    in_percent: bool
    """values are shares, shown in per cent"""
    goal: Goal | None
    """the legend speaks of the best value, and where it is; None: of the last"""
    pictures: tuple[Picture, ...]
    table: tuple[TableRow, ...]

    @property
    def legend(self) -> tuple[Drawn, ...]:
        return self.pictures[0].lines


NARROW = (360, 215)
MIDDLE = (660, 280)
WIDE = (1060, 330)
GAP = 12.0
"""a line is broken where steps are missing for so many times its usual distance: nothing was measured there"""


def line_chart(
    chart_id: str,
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str = "step",
    y_label: str = "",
    logarithmic: bool | None = None,
    logarithmic_x: bool | None = False,
    in_percent: bool = False,
    from_zero: bool = False,
    goal: Goal | None = None,
    sections: Sequence[Section] = (),
    sizes: Sequence[tuple[int, int]] = (NARROW,),
) -> LineChart:
    """Lay out the lines that have points.

    Args:
        chart_id: unique on the page, safe as an id.
        title: what is shown.
        lines: with increasing x.
        x_label: of the axis.
        y_label: of the axis.
        logarithmic: y axis; None where the values ask for it.
        logarithmic_x: likewise.
        in_percent: y values are shares of one; their axis is linear.
        from_zero: a linear y axis begins at zero.
        goal: which of a line's values is best and told; None: the last one is told, as of a course.
        sections: of the x axis, marked by vertical lines.
        sizes: (width, height) of each picture.

    Raises:
        ValueError: no line has a point.
    """
    shown = [line for line in lines if line.points]
    if not shown:
        raise ValueError(f"chart {title!r} has no points: leave it out")
    thinned = [Line(line.name, thin(line.points)) for line in shown]
    xs = [p[0] for line in thinned for p in line.points]
    x = Scale.over(xs, logarithmic=logarithmic_x)
    if not x.logarithmic and max(xs) > min(xs):  # steps need no air at their ends
        x = Scale(min(xs), max(xs))
    y = Scale.over(
        (p[1] for line in thinned for p in line.points),
        logarithmic=False if in_percent else logarithmic,
        include_zero=from_zero,
    )
    return LineChart(
        id=chart_id,
        title=title,
        description=_describe(shown, x_label, in_percent=in_percent, logarithmic=y.logarithmic, goal=goal),
        x_label=x_label,
        y_label=y_label,
        logarithmic=y.logarithmic,
        in_percent=in_percent,
        goal=goal,
        pictures=tuple(
            _picture(thinned, x, y, width, height, sections, in_percent=in_percent, goal=goal)
            for width, height in sizes
        ),
        table=_table(shown),
    )


def thin(points: Sequence[Point], limit: int = MAX_POINTS) -> tuple[Point, ...]:
    """At most about `limit` points: of each stretch its lowest and its highest, so that no peak is lost.

    >>> thin([(0, 1.0), (1, 9.0), (2, 0.0), (3, 2.0)], limit=2)
    ((1, 9.0), (2, 0.0))
    """
    if len(points) <= limit:
        return tuple(points)
    stretch = math.ceil(2 * len(points) / limit)
    kept: list[Point] = []
    for begin in range(0, len(points), stretch):
        part = points[begin : begin + stretch]
        extremes = {min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])}
        kept += sorted(extremes)
    return tuple(kept)


def _picture(
    lines: Sequence[Line],
    x: Scale,
    y: Scale,
    width: int,
    height: int,
    sections: Sequence[Section],
    *,
    in_percent: bool,
    goal: Goal | None,
) -> Picture:
    y_ticks = [(tick, tick_text(round(100 * tick, 9) if in_percent else tick)) for tick in y.ticks(height // 30)]
    left = 12 + _GLYPH * max((len(text) for _, text in y_ticks), default=1)
    right, top, bottom = width - 14.0, 24.0 if sections else 12.0, height - 36.0

    def across(value: float) -> float:
        return round(left + x.place(value) * (right - left), 1)

    def down(value: float) -> float:
        return round(bottom - y.place(value) * (bottom - top), 1)

    def drawn(index: int, line: Line) -> Drawn:
        places = [(across(px), down(py)) for px, py in line.points]
        begins = _beginnings([px for px, _ in line.points])
        path = "".join(("M" if number in begins else "L") + f"{px:g} {py:g}" for number, (px, py) in enumerate(places))
        told = _told(line, goal)
        few = places if 1 < len(places) <= 12 else []
        return Drawn(
            name=line.name,
            colour=index % COLOURS + 1,
            path=path,
            told=told,
            told_at=(across(told[0]), down(told[1])),
            single=len(places) == 1,
            marks=tuple(few),
        )

    return Picture(
        width=width,
        height=height,
        left=round(left, 1),
        right=right,
        top=top,
        bottom=bottom,
        x_ticks=tuple(Tick(across(tick), tick_text(tick)) for tick in x.ticks(width // 80)),
        y_ticks=tuple(Tick(down(tick), text) for tick, text in y_ticks),
        lines=tuple(drawn(index, line) for index, line in enumerate(lines)),
        sections=tuple(
            _mark(section, x, across) for section in sections if section.begin < x.high and section.end > x.low
        ),
    )


def _told(line: Line, goal: Goal | None) -> Point:
    match goal:
        case None:
            return line.points[-1]
        case "max":
            return max(line.points, key=lambda p: p[1])
        case "min":
            return min(line.points, key=lambda p: p[1])


def _beginnings(steps: Sequence[float]) -> frozenset[int]:
    """Indices at which the line begins, at first and after each gap."""
    if len(steps) < 4:  # too few to tell what is usual
        return frozenset({0})
    distances = [after - before for before, after in pairwise(steps)]
    usual = statistics.median(distances)
    return frozenset({0, *(index for index, distance in enumerate(distances, start=1) if distance > GAP * usual)})


def _mark(section: Section, x: Scale, across: Callable[[float], float]) -> Marked:
    begin, end = across(max(section.begin, x.low)), across(min(section.end, x.high))
    return Marked(section.name, begin, begin + 4, fits=end - begin > _GLYPH * len(section.name) + 6)


def _table(lines: Sequence[Line]) -> tuple[TableRow, ...]:
    steps = sorted({px for line in lines for px, _ in line.points})
    if len(steps) > TABLE_ROWS:
        stride = (len(steps) - 1) / (TABLE_ROWS - 1)
        steps = [steps[round(index * stride)] for index in range(TABLE_ROWS)]
    values = [dict(line.points) for line in lines]
    return tuple(TableRow(f"{step:g}", tuple(of.get(step) for of in values)) for step in steps)


def _describe(lines: Sequence[Line], x_label: str, *, in_percent: bool, logarithmic: bool, goal: Goal | None) -> str:
    def said(value: float) -> str:
        return f"{100 * value:.1f} %" if in_percent else f"{value:.3g}"

    first, last = min(line.points[0][0] for line in lines), max(line.points[-1][0] for line in lines)
    courses = "; ".join(
        f"{line.name} from {said(line.points[0][1])} to {said(line.points[-1][1])}"
        if len(line.points) > 1
        else f"{line.name} {said(line.points[0][1])}"
        for line in lines
    )
    axis = ", logarithmic" if logarithmic else ""
    best = "".join(f" Best: {said(_told(line, goal)[1])} at {_told(line, goal)[0]:g}." for line in lines if goal)
    return f"Over {x_label} {first:g} to {last:g}{axis}: {courses}.{best}"
