import pytest

from service.jobs.study_results import CurvePoint, RunFound, RunState, Spread, SweepResults
from tests.workers.reporting.samples import (
    ablation_results,
    ablation_spec,
    figure_5_results,
    figure_5_spec,
    random_results,
)
from workers.reporting.metrics import MOST_POINTS, study_metrics
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
    event, *_ = study_metrics(results)
    assert event.values["sweep/best"] == max(run.value for run in results.runs if run.name == results.best)
    assert event.values["runs/stopped_early"] == 5


def test_a_sweep_without_a_best_says_none() -> None:
    event, *_ = study_metrics(random_results().model_copy(update={"best": None}))
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


def test_of_a_random_search_the_trials_that_ended_are_the_points_by_rising_value() -> None:
    results = random_results()
    events = study_metrics(results)
    ended = [run for run in results.runs if run.state is RunState.SUCCEEDED]
    for field in ("schedule.learning_rate", "objective.tau_0"):
        by_value = sorted((run.overrides[field], run.value) for run in ended)
        assert [value for _, value in series(events, f"curve/{field}/value")] == [value for value, _ in by_value]
        assert series(events, f"curve/{field}/mean_ap") == list(enumerate(found for _, found in by_value))
    assert not any("objective.binarization" in name for event in events for name in event.values)


def trial(number: int, learning_rate: float, *, seed: int = 0, value: float = 0.5) -> RunFound:
    return RunFound(
        name=f"trial-{number}-seed{seed}",
        variant=f"trial-{number}",
        seed=seed,
        overrides={"schedule.learning_rate": learning_rate},
        state=RunState.SUCCEEDED,
        value=value,
    )


def test_a_trial_with_several_seeds_is_one_point() -> None:
    runs = (trial(0, 0.2, value=0.4), trial(0, 0.2, seed=1, value=0.6), trial(1, 0.1))
    events = study_metrics(SweepResults(runs=runs, metric="eval/mean_ap", goal="max", best=None))
    assert series(events, "curve/schedule.learning_rate/value") == [(0, 0.1), (1, 0.2)]
    assert series(events, "curve/schedule.learning_rate/mean_ap") == [(0, 0.5), (1, pytest.approx(0.5))]
    assert [step for step, _ in series(events, "curve/schedule.learning_rate/mean_ap_std")] == [1]


def test_of_a_thousand_trials_some_over_the_whole_range_are_told() -> None:
    runs = tuple(trial(number, number / 1000) for number in range(1000))
    events = study_metrics(SweepResults(runs=runs, metric="loss/mil", goal="min", best=None))
    values = [value for _, value in series(events, "curve/schedule.learning_rate/value")]
    assert (len(values), values[0], values[-1]) == (MOST_POINTS, 0.0, 0.999)
    assert len(set(values)) == MOST_POINTS


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
