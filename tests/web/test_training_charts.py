import math

from sdcn_core.config.presets import scenes
from service.web.charts.line_chart import LineChart
from service.web.training_charts import stage_sections, stage_steps, training_charts
from tests.web.examples import STAGES


def titles(charts: tuple[LineChart, ...]) -> list[str]:
    return [chart.title for chart in charts]


def test_losses_come_first_with_the_terms_in_the_order_of_the_method() -> None:
    charts = training_charts({"time/step_s": [(1, 0.4)], "loss/seg": [(1, 1.0)], "loss/mil": [(1, 2.0)]})
    assert titles(charts) == ["Losses", "Seconds per step"]
    assert [line.name for line in charts[0].legend] == ["mil", "seg"]


def test_a_term_has_one_colour_in_all_charts_that_show_all_terms() -> None:
    series = {f"{kind}/{term}": [(1, 1.0)] for kind in ("loss", "gradient") for term in ("adv", "mil", "ref")}
    losses, gradients = training_charts(series)
    assert [(line.name, line.colour) for line in losses.legend] == [
        (line.name, line.colour) for line in gradients.legend
    ]


def test_classes_are_left_to_the_tables() -> None:
    assert titles(training_charts({"eval/ap/cat": [(9, 0.1)], "eval/mean_ap": [(9, 0.1)]})) == ["Judged on the way"]


def test_a_series_nobody_foresaw_is_shown_all_the_same() -> None:
    assert titles(training_charts({"study/runs_ended": [(1, 1.0)]})) == ["study/runs_ended"]


def test_a_series_that_is_nowhere_finite_is_left_out() -> None:
    assert training_charts({"loss/adv": [(1, math.nan), (2, math.inf)]}) == ()


def test_stages_lie_along_the_steps_one_after_the_other() -> None:
    steps = stage_steps(scenes().model_dump(mode="json"))
    assert tuple(steps.items()) == STAGES
    assert [(s.begin, s.end) for s in stage_sections(steps)] == [(0, 220), (220, 480), (480, 780), (780, 1080)]


def test_an_experiment_of_another_version_has_no_stages() -> None:
    assert stage_steps({"no": "experiment"}) == {}
    assert stage_steps(None) == {}
