"""Metric series as the charts a person looks at: losses first, then what is judged, gradients, rates, times."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from sdcn_core.config.experiment import ExperimentConfig
from service.web.charts.line_chart import MIDDLE, NARROW, WIDE, Line, LineChart, Section, line_chart

Series = Mapping[str, Sequence[tuple[int, float]]]
"""Metric -> (optimizer steps over all stages, value), steps increasing."""

LARGEST = 1e100
"""a loss beyond it, or not finite, is of a training that has run away; an axis that shows it shows nothing else"""
_TERMS = ("mil", "ref", "seg", "adv", "cls", "classifier")
_STAGES = ("backbone", "classifier", "apart", "loop", "fast_rcnn")


def training_charts(series: Series, sections: Sequence[Section] = ()) -> tuple[LineChart, ...]:
    """Charts of the series that have points; per-class series and counts are for tables, scaled losses for MLflow."""
    finite = {name: tuple(p for p in points if abs(p[1]) <= LARGEST) for name, points in series.items()}
    shown = {name: points for name, points in finite.items() if points}
    charts: list[LineChart] = []

    def add(chart_id: str, title: str, names: Sequence[str], **options: Any) -> None:  # noqa: ANN401
        lines = [Line(name.rpartition("/")[2].replace("_", " "), shown.pop(name)) for name in names]
        if lines:
            charts.append(line_chart(chart_id, title, lines, sections=sections, **options))

    def below(prefix: str) -> list[str]:
        found = [name for name in shown if name.startswith(prefix) and "/" not in name.removeprefix(prefix)]
        return sorted(found, key=_term_place)

    add("losses", "Losses", below("loss/"), sizes=(WIDE, MIDDLE, NARROW))
    add("judged", "Judged on the way", below("eval/mean_"), y_label="%", in_percent=True, from_zero=True)
    add("gradients", "Gradient norms", below("gradient/"))
    add("rates", "Learning rates", below("rate/"))
    add("step-time", "Seconds per step", [name for name in ("time/step_s",) if name in shown])
    add("throughput", "Images per second", [name for name in ("time/images_per_s",) if name in shown])
    for prefix in ("loss_scaled/", "eval/", "untrained/", "chance/", "teacher/", "pseudo_labels/"):
        for name in [name for name in shown if name.startswith(prefix)]:
            del shown[name]
    rest = sorted(shown)
    for index in range(0, len(rest), 6):
        names = rest[index : index + 6]
        lines = [Line(name, shown[name]) for name in names]
        title = names[0] if len(names) == 1 else "More"
        charts.append(line_chart(f"more-{index // 6}", title, lines, sections=sections))
    return tuple(charts)


def _term_place(name: str) -> tuple[int, str]:
    """The objective's terms in one order, and so in one colour, in every chart; anything else behind them."""
    term = name.rpartition("/")[2]
    return (_TERMS.index(term) if term in _TERMS else len(_TERMS), term)


def stage_steps(experiment: Any) -> dict[str, int]:  # noqa: ANN401 - JSON as it was stored
    """Stage -> optimizer steps of a stored experiment, stages without a step left out; empty where this version cannot
    read it.
    """
    try:
        read = ExperimentConfig.model_validate(experiment)
    except ValidationError:
        return {}
    schedule = read.schedule
    second = 0 if read.second_stage is None else read.second_stage.steps
    counted = (schedule.backbone.steps, schedule.classifier.steps, schedule.apart_steps, schedule.loop_steps, second)
    return {stage: steps for stage, steps in zip(_STAGES, counted, strict=True) if steps > 0}


def stage_sections(steps: Mapping[str, int]) -> tuple[Section, ...]:
    """The stages along the axis of steps.

    >>> stage_sections({"apart": 6, "loop": 4})
    (Section(name='apart', begin=0, end=6), Section(name='loop', begin=6, end=10))
    """
    sections: list[Section] = []
    begin = 0
    for stage, count in steps.items():
        sections.append(Section(stage, begin, begin + count))
        begin += count
    return tuple(sections)
