"""The metric against each searched field: the paper's figure 5."""

from collections.abc import Sequence
from typing import Any

from pydantic import JsonValue

from sdcn_core.config.search_space import Choice
from service.jobs.study_results import CurvePoint, RunFound, RunState, Spread
from service.jobs.sweep_spec import GridSearch, OneAtATimeSearch, SweepSpec


def curves_of(spec: SweepSpec, runs: Sequence[RunFound]) -> dict[str, tuple[CurvePoint, ...]]:
    """Field -> the metric at each of its values, over seeds and, in a grid, over the values of all other fields.

    In a one-at-a-time search the run without overrides belongs to every curve, at the value that the experiment itself
    has there. Random and Optuna searches, whose values are not shared by several trials, have no curves.
    """
    curves: dict[str, tuple[CurvePoint, ...]] = {}
    for path, domain in spec.space.items():
        if not isinstance(domain, Choice):
            continue
        match spec.search:
            case GridSearch():
                values = list(domain.values)
                at = {index: [r for r in runs if r.overrides[path] == value] for index, value in enumerate(values)}
            case OneAtATimeSearch():
                own = _value_at(spec.resolved_experiment.model_dump(mode="json"), path)
                values = list(domain.values) if own in domain.values else _with(domain.values, own)
                at = {
                    index: [r for r in runs if r.overrides == {path: value} or (not r.overrides and value == own)]
                    for index, value in enumerate(values)
                }
            case _:
                return {}
        curves[path] = tuple(CurvePoint(value=value, measure=_spread(at[index])) for index, value in enumerate(values))
    return curves


def _spread(runs: Sequence[RunFound]) -> Spread | None:
    return Spread.of([run.value for run in runs if run.state is RunState.SUCCEEDED])


def _with(values: Sequence[JsonValue], own: JsonValue) -> list[JsonValue]:
    """The values and the experiment's own, in order where they are numbers."""
    together = [*values, own]
    numbers = [value for value in together if isinstance(value, int | float) and not isinstance(value, bool)]
    return [*sorted(numbers)] if len(numbers) == len(together) else together


def _value_at(tree: Any, path: str) -> JsonValue:  # noqa: ANN401 - any JSON
    for name in path.split("."):
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree
