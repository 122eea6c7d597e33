"""A study's outcome as metric series, in a form that MLflow's own charts can plot and compare.

A hyperparameter curve is a pair of series over the index of its points: `curve/<field>/value` and
`curve/<field>/<metric>`. A line chart of the latter with the former as its x axis is the curve. Of a random or Optuna
search, where trials share no values, the points are the trials.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from pydantic import JsonValue

from service.jobs.study_results import AblationResults, CurvePoint, Row, RunFound, RunState, Spread, SweepResults
from workers.spool import MetricsEvent

MOST_POINTS = 200
"""of a field; of more trials those evenly spread over its values are taken, the first and the last with them"""


def study_metrics(results: AblationResults | SweepResults) -> list[MetricsEvent]:
    """What the executor appends to the job's spool when the study has ended.

    Of an ablation: `<measure>/<variant>`, the mean over seeds of mean_ap, mean_corloc and mean_iou; with several seeds
    also `<measure>_std/<variant>`. Of a sweep: `sweep/best`, and the curves. Of both: `runs/succeeded`,
    `runs/stopped_early` and `runs/failed`. All at step 0 but the points of curves, whose step is their index.
    """
    summary = {f"runs/{state.value}": float(sum(run.state is state for run in results.runs)) for state in RunState}
    match results:
        case AblationResults():
            for row in results.rows:
                summary.update(_of_row(row))
            return [MetricsEvent(global_step=0, values=summary)]
        case SweepResults():
            best = next((run.value for run in results.runs if run.name == results.best), None)
            if best is not None:
                summary["sweep/best"] = best
            measure = results.metric.removeprefix("eval/").replace("/", "_")
            points = [
                MetricsEvent(global_step=index, values=values)
                for field, curve in (results.curves or _trials_in_order(results)).items()
                for index, values in enumerate(_of_curve(field, measure, curve))
                if values
            ]
            return [MetricsEvent(global_step=0, values=summary), *points]


def _of_row(row: Row) -> Iterator[tuple[str, float]]:
    for measure, spread in row.measures.items():
        if spread is not None:
            yield f"{measure}/{row.variant}", spread.mean
            if spread.std is not None:
                yield f"{measure}_std/{row.variant}", spread.std


def _of_curve(field: str, measure: str, curve: tuple[CurvePoint, ...]) -> Iterator[dict[str, float]]:
    """The values at each point; a field whose values are no numbers has its index as x axis."""
    numbers = all(_is_number(point.value) for point in curve)
    for point in curve:
        values: dict[str, float] = {}
        if point.measure is not None:
            if numbers:
                values[f"curve/{field}/value"] = float(point.value)  # type: ignore[arg-type]
            values[f"curve/{field}/{measure}"] = point.measure.mean
            if point.measure.std is not None:
                values[f"curve/{field}/{measure}_std"] = point.measure.std
        yield values


def _trials_in_order(results: SweepResults) -> dict[str, tuple[CurvePoint, ...]]:
    """Field whose values are numbers -> a point for each trial that came to its end, by rising value."""
    trials: defaultdict[str, list[RunFound]] = defaultdict(list)
    for run in results.runs:
        if run.state is RunState.SUCCEEDED:
            trials[run.variant].append(run)
    fields = sorted({field for runs in trials.values() for field in runs[0].overrides})
    curves = {}
    for field in fields:
        points = [
            CurvePoint(value=runs[0].overrides[field], measure=Spread.of([run.value for run in runs]))
            for runs in trials.values()
        ]
        known = [point for point in points if point.measure is not None]
        if all(_is_number(point.value) for point in known):
            curves[field] = _thinned(sorted(known, key=lambda point: float(point.value)))  # type: ignore[arg-type]
    return curves


def _thinned(points: Sequence[CurvePoint]) -> tuple[CurvePoint, ...]:
    if len(points) <= MOST_POINTS:
        return tuple(points)
    return tuple(points[round(k * (len(points) - 1) / (MOST_POINTS - 1))] for k in range(MOST_POINTS))


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
