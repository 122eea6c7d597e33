from service.jobs.study_results import CurvePoint, Spread, SweepResults
from tests.workers.reporting.samples import (
    ablation_results,
    ablation_spec,
    figure_5_results,
    figure_5_spec,
    random_results,
)
from workers.reporting.metrics import study_metrics
from workers.spool import MetricsEvent


def test_an_ablation_says_each_measure_of_each_row() -> None:
    results = ablation_results(ablation_spec())
    (event,) = study_metrics(results)
    sdcn = next(row for row in results.rows if row.variant == "sdcn").measures["mean_ap"]
    assert sdcn is not None
    assert event.values["mean_ap/sdcn"] == sdcn.mean
    assert event.values["mean_ap_std/sdcn"] == sdcn.std
    assert {name.partition("/")[0] for name in event.values} >= {"mean_ap", "mean_corloc", "mean_iou", "runs"}
    assert (event.values["runs/succeeded"], event.values["runs/failed"]) == (11, 1)


def test_one_seed_has_no_deviation() -> None:
    (event,) = study_metrics(ablation_results(ablation_spec(seeds=[0])))
    assert "mean_ap/sdcn" in event.values
    assert not any("_std" in name for name in event.values)


def test_a_sweep_says_its_best_value() -> None:
    results = random_results()
    (event,) = study_metrics(results)
    assert event.values["sweep/best"] == max(run.value for run in results.runs if run.name == results.best)
    assert event.values["runs/stopped_early"] == 5


def test_a_sweep_without_a_best_says_none() -> None:
    (event,) = study_metrics(random_results().model_copy(update={"best": None}))
    assert "sweep/best" not in event.values


def series(events: list[MetricsEvent], name: str) -> list[tuple[int, float]]:
    return [(event.global_step, event.values[name]) for event in events if name in event.values]


def test_a_curve_is_two_series_over_the_index_of_its_points() -> None:
    results = figure_5_results(figure_5_spec())
    events = study_metrics(results)
    field = "objective.lambda_seg"
    known = [(i, p.value, p.measure) for i, p in enumerate(results.curves[field]) if p.measure is not None]
    assert series(events, f"curve/{field}/value") == [(index, value) for index, value, _ in known]
    assert series(events, f"curve/{field}/mean_ap") == [(index, measure.mean) for index, _, measure in known]


def sweep_of(*points: CurvePoint) -> SweepResults:
    return SweepResults(runs=(), metric="loss/mil", goal="min", best=None, curves={"data.flip": points})


def test_values_that_are_no_numbers_are_told_by_their_index() -> None:
    half = Spread.of([0.5])
    events = study_metrics(sweep_of(CurvePoint(value=True, measure=half), CurvePoint(value=False, measure=half)))
    assert series(events, "curve/data.flip/loss_mil") == [(0, 0.5), (1, 0.5)]
    assert series(events, "curve/data.flip/value") == []


def test_a_value_that_no_run_reached_is_a_gap() -> None:
    half = Spread.of([0.5])
    points = (CurvePoint(value=1, measure=half), CurvePoint(value=2, measure=None), CurvePoint(value=3, measure=half))
    events = study_metrics(sweep_of(*points))
    assert series(events, "curve/data.flip/value") == [(0, 1.0), (2, 3.0)]
