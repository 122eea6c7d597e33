from service.jobs.study_results import CurvePoint
from tests.workers.sweep.specs import MIL, SEG, found, sweep
from workers.sweep.curves import curves_of

GRID = {MIL: {"kind": "choice", "values": [0.1, 1.0]}, SEG: {"kind": "choice", "values": [1, 2]}}


def means(points: tuple[CurvePoint, ...]) -> dict[object, float | None]:
    return {point.value: point.measure and point.measure.mean for point in points}


def test_a_grids_curve_is_averaged_over_the_other_fields_and_over_seeds() -> None:
    spec = sweep(space=GRID, seeds=[0, 1])
    runs = [
        found(f"{mil}{seg}{seed}", mil + 10 * seg + 100 * seed, overrides={MIL: mil, SEG: seg}, seed=seed)
        for mil in (0.1, 1.0)
        for seg in (1, 2)
        for seed in (0, 1)
    ]
    curves = curves_of(spec, runs)
    assert means(curves[MIL]) == {0.1: 65.1, 1.0: 66.0}
    assert means(curves[SEG]) == {1: 60.55, 2: 70.55}


def test_the_base_run_belongs_to_every_curve_at_the_experiments_own_value() -> None:
    spec = sweep(space=GRID, search={"kind": "one_at_a_time"}, overrides={MIL: 0.5, SEG: 2})
    runs = [found("base", 3), found("m0", 1, overrides={MIL: 0.1}), found("s", 5, overrides={SEG: 1})]
    curves = curves_of(spec, runs)
    assert means(curves[MIL]) == {0.1: 1, 0.5: 3, 1.0: None}
    assert means(curves[SEG]) == {1: 5, 2: 3}


def test_a_value_that_no_run_came_to_the_end_with_is_a_gap() -> None:
    runs = [found("a", 1, overrides={MIL: 0.1}), found("b", overrides={MIL: 1.0})]
    assert means(curves_of(sweep(), runs)[MIL]) == {0.1: 1, 1.0: None}


def test_trials_that_were_stopped_early_are_on_no_curve() -> None:
    runs = [found("a", 1, overrides={MIL: 0.1}), found("b", 9, overrides={MIL: 1.0}, state="stopped_early")]
    assert means(curves_of(sweep(), runs)[MIL]) == {0.1: 1, 1.0: None}


def test_values_that_are_no_numbers_keep_their_order() -> None:
    field = "schedule.optimizer"
    spec = sweep(space={field: {"kind": "choice", "values": ["sgd"]}}, search={"kind": "one_at_a_time"})
    curves = curves_of(spec, [found("base", 2), found("sgd", 1, overrides={field: "sgd"})])
    assert means(curves[field]) == {"sgd": 1, "adam": 2}


def test_random_searches_have_no_curves() -> None:
    spec = sweep(search={"kind": "random", "num_trials": 2})
    assert curves_of(spec, [found("a", 1, overrides={MIL: 0.1})]) == {}
