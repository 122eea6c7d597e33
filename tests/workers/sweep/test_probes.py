from tests.workers.sweep.specs import MIL, sweep
from workers.sweep.probes import probes

RANDOM = {"kind": "random", "num_trials": 5}


def test_the_trials_of_a_grid_are_its_own_probes() -> None:
    assert [run.name for run in probes(sweep())] == ["trial-000-lambda_mil-0.1", "trial-001-lambda_mil-1.0"]


def test_the_probes_of_a_random_search_differ_in_every_searched_field() -> None:
    space = {
        MIL: {"kind": "log_uniform", "low": 0.1, "high": 10},
        "schedule.loop_steps": {"kind": "integer", "low": 3, "high": 9},
        "schedule.optimizer": {"kind": "choice", "values": ["sgd", "adam"]},
    }
    low, high = (run.experiment for run in probes(sweep(space=space, search=RANDOM)))
    assert (low.objective.lambda_mil, high.objective.lambda_mil) == (0.1, 10)
    assert (low.schedule.loop_steps, high.schedule.loop_steps) == (3, 9)
    assert (low.schedule.optimizer, high.schedule.optimizer) == ("sgd", "adam")


def test_ends_that_do_not_go_together_are_no_probes() -> None:
    space = {
        "model.detection.refinements": {"kind": "choice", "values": [2, 0]},
        "objective.detection_instructs_segmentation": {"kind": "choice", "values": [False, True]},
    }
    overrides = {"objective.detection_instructs_segmentation": False}
    assert probes(sweep(space=space, search=RANDOM, overrides=overrides)) == ()
