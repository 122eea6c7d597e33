import pytest

from sdcn_core.config.search_space import Choice, Domain, Integer, LogUniform, Uniform
from service.jobs.study_results import RunState
from workers.sweep.drawing import PastTrial, optuna_draw, random_draw

SPACE: dict[str, Domain] = {
    "a": Uniform(low=-1, high=1),
    "b": LogUniform(low=1e-3, high=1e3),
    "c": Integer(low=2, high=4),
    "d": Choice(values=(None, "x", [1, 2])),
}


def test_a_draw_depends_on_the_seed_and_the_number_and_on_nothing_else() -> None:
    first = random_draw(SPACE, seed=3, number=5)
    random_draw(SPACE, seed=3, number=6)
    assert random_draw(dict(reversed(SPACE.items())), seed=3, number=5) == first
    assert random_draw(SPACE, seed=3, number=6) != first
    assert random_draw(SPACE, seed=4, number=5) != first


def test_random_draws_lie_in_their_domains_and_reach_all_of_them() -> None:
    draws = [random_draw(SPACE, seed=0, number=number) for number in range(400)]
    assert all(-1 <= draw["a"] <= 1 and 1e-3 <= draw["b"] <= 1e3 for draw in draws)
    assert {draw["c"] for draw in draws} == {2, 3, 4}
    assert {repr(draw["d"]) for draw in draws} == {"None", "'x'", "[1, 2]"}


def test_a_logarithmic_domain_is_drawn_evenly_in_the_logarithm() -> None:
    small = sum(random_draw(SPACE, seed=0, number=number)["b"] < 1 for number in range(400))
    assert small == pytest.approx(200, abs=40)


def past(count: int) -> list[PastTrial]:
    space: dict[str, Domain] = {"a": SPACE["a"]}
    draws = [random_draw(space, seed=0, number=number) for number in range(count)]
    return [PastTrial(draw, RunState.SUCCEEDED, -((draw["a"] - 0.5) ** 2)) for draw in draws]


@pytest.mark.parametrize("goal", ["max", "min"])
def test_optuna_looks_where_earlier_trials_did_well(goal: str) -> None:
    trials = [
        PastTrial(trial.overrides, trial.state, (trial.value or 0) * (1 if goal == "max" else -1)) for trial in past(30)
    ]
    draws = [optuna_draw({"a": SPACE["a"]}, trials, goal=goal, seed=0, number=number)["a"] for number in range(30, 60)]
    assert sum(abs(draw - 0.5) < 0.25 for draw in draws) > 20


def test_an_optuna_draw_can_be_repeated_after_a_restart() -> None:
    draws = {optuna_draw({"a": SPACE["a"]}, past(12), goal="max", seed=1, number=12)["a"] for _ in range(3)}
    assert len(draws) == 1


def test_optuna_hears_of_trials_at_work_stopped_early_and_failed() -> None:
    overrides = random_draw(SPACE, seed=0, number=0)
    trials = [
        PastTrial(overrides, None, None),
        PastTrial(overrides, RunState.STOPPED_EARLY, 0.2, {10: 0.2}),
        PastTrial(overrides, RunState.STOPPED_EARLY, None),
        PastTrial(overrides, RunState.FAILED, None),
    ]
    draw = optuna_draw(SPACE, trials * 4, goal="max", seed=0, number=16)
    assert set(draw) == set(SPACE)
    assert draw["d"] in (None, "x", [1, 2])
