import math

import pytest

from service.web.charts.line_chart import MAX_POINTS, Goal, Line, Section, line_chart, thin
from service.web.charts.scales import Scale


def test_a_peak_between_many_points_is_still_drawn() -> None:
    points = [(float(step), 1.0) for step in range(5000)]
    points[2345] = (2345.0, 90.0)
    kept = thin(points)
    assert (2345.0, 90.0) in kept
    assert len(kept) <= MAX_POINTS + 2
    assert [x for x, _ in kept] == sorted(x for x, _ in kept)


@pytest.mark.parametrize("values", [[3.0], [0.0, 0.0], [-2.0, 5.0], [1e-9, 1e9], [1e-320, 1e99], [7.0, 7.0000001]])
def test_every_axis_shows_all_its_values_and_has_ticks_inside(values: list[float]) -> None:
    axis = Scale.over(values)
    assert all(0 <= axis.place(value) <= 1 for value in values)
    assert all(axis.low <= tick <= axis.high for tick in axis.ticks())
    assert len(axis.ticks()) >= 2


def test_values_that_differ_much_get_a_logarithmic_axis_unless_one_is_not_positive() -> None:
    assert Scale.over([0.01, 10]).logarithmic
    assert not Scale.over([0.0, 10]).logarithmic
    assert not Scale.over([5, 10]).logarithmic


def test_values_that_are_not_finite_do_not_stretch_the_axis() -> None:
    assert Scale.over([1.0, math.inf, math.nan, 2.0]).high < 3


def test_the_air_around_values_does_not_reach_below_zero() -> None:
    assert Scale.over([0.01, 0.9], logarithmic=False).low == 0
    assert Scale.over([-0.01, 0.9]).low < -0.01


def test_a_curve_fills_its_picture_and_can_be_read_off_at_several_ticks() -> None:
    points = ((0.01, 0.55), (0.1, 0.64), (1.0, 0.73), (10.0, 0.84))
    [picture] = line_chart("c", "tau_0", [Line("mAP", points)], in_percent=True, logarithmic_x=None).pictures
    assert [tick.text for tick in picture.y_ticks] == ["55", "60", "65", "70", "75", "80", "85"]


def test_shares_of_a_course_are_measured_from_zero() -> None:
    lines = [Line("mAP", ((100, 0.70), (200, 0.84)))]
    [picture] = line_chart("c", "Judged", lines, in_percent=True, from_zero=True).pictures
    assert picture.y_ticks[0].text == "0"


@pytest.mark.parametrize(("goal", "told"), [("max", (1.0, 0.8)), ("min", (0.1, 0.6)), (None, (10.0, 0.7))])
def test_the_legend_tells_the_best_value_where_there_is_a_best_and_else_the_last(
    goal: Goal | None, told: tuple[float, float]
) -> None:
    chart = line_chart("c", "tau_0", [Line("mAP", ((0.1, 0.6), (1.0, 0.8), (10.0, 0.7)))], goal=goal)
    [line] = chart.legend
    assert line.told == told
    assert line.told_at == line.marks[[0.1, 1.0, 10.0].index(told[0])]
    assert ("Best" in chart.description) == (goal is not None)


def test_an_axis_without_values_is_that_of_shares() -> None:
    assert (Scale.over([]).low, Scale.over([]).high) == (0, 1)


def test_a_larger_value_is_drawn_higher_and_a_later_one_further_right() -> None:
    [picture] = line_chart("c", "Losses", [Line("mil", ((0, 1.0), (10, 4.0)))]).pictures
    (x0, y0), (x1, y1) = picture.lines[0].marks
    assert x0 < x1
    assert y1 < y0


def test_a_line_is_broken_where_nothing_was_measured() -> None:
    points = [*((float(x), 1.0) for x in range(0, 100, 10)), *((float(x), 1.0) for x in range(500, 600, 10))]
    [picture] = line_chart("c", "Losses", [Line("cls", tuple(points))]).pictures
    assert picture.lines[0].path.count("M") == 2


def test_a_single_point_is_a_dot_and_no_path() -> None:
    [picture] = line_chart("c", "Judged", [Line("mAP", ((300, 0.5),))], in_percent=True).pictures
    assert picture.lines[0].single
    assert picture.left <= picture.lines[0].told_at[0] <= picture.right


def test_the_table_says_what_the_picture_shows() -> None:
    lines = [Line("mil", ((0, 1.0), (10, 0.5))), Line("seg", ((10, 0.25),))]
    assert [(row.x, row.values) for row in line_chart("c", "Losses", lines).table] == [
        ("0", (1.0, None)),
        ("10", (0.5, 0.25)),
    ]


def test_a_long_table_keeps_its_first_and_last_row() -> None:
    table = line_chart("c", "Losses", [Line("mil", tuple((float(x), 1.0) for x in range(1000)))]).table
    assert (table[0].x, table[-1].x, len(table)) == ("0", "999", 12)


def test_stages_that_lie_ahead_are_not_marked() -> None:
    sections = [Section("apart", 0, 100), Section("loop", 100, 200)]
    [picture] = line_chart("c", "L", [Line("mil", ((10, 1.0), (90, 1.0)))], sections=sections).pictures
    assert [mark.name for mark in picture.sections] == ["apart"]


def test_a_chart_without_a_point_is_refused() -> None:
    with pytest.raises(ValueError, match="no points"):
        line_chart("c", "Losses", [Line("mil", ())])
