from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from workers.sweep.halving import SuccessiveHalving, read_decisions, write_decisions

LAST = 100


def halving(**fields: object) -> SuccessiveHalving:
    return SuccessiveHalving(**{"grace_steps": 10, "reduction_factor": 2, "goal": "max", **fields})  # type: ignore[arg-type]


def test_before_the_first_rung_nothing_is_decided() -> None:
    assert halving().decide("a", 9, 0.0, last_step=LAST) is None


def test_the_first_trial_at_a_rung_goes_on_and_a_worse_one_after_it_does_not() -> None:
    rungs = halving()
    first = rungs.decide("a", 10, 0.5, last_step=LAST)
    second = rungs.decide("b", 10, 0.4, last_step=LAST)
    assert (first and first.goes_on, second and second.goes_on) == (True, False)
    assert set(rungs.stopped()) == {"b"}


def test_where_small_is_good_the_larger_one_is_stopped() -> None:
    rungs = halving(goal="min")
    rungs.decide("a", 10, 0.5, last_step=LAST)
    assert rungs.decide("b", 10, 0.6, last_step=LAST).goes_on is False  # type: ignore[union-attr]
    assert rungs.decide("c", 10, 0.4, last_step=LAST).goes_on is True  # type: ignore[union-attr]


def test_between_two_rungs_and_at_rungs_that_were_skipped_nothing_is_decided() -> None:
    rungs = halving()
    first = rungs.decide("a", 45, 0.5, last_step=LAST)
    assert first is not None
    assert first.rung == 40
    assert rungs.decide("a", 50, 0.1, last_step=LAST) is None


def test_a_trial_at_its_last_step_is_not_stopped() -> None:
    rungs = halving()
    rungs.decide("a", 80, 0.9, last_step=LAST)
    assert rungs.decide("b", 80, 0.1, last_step=80) is None


def test_decisions_outlive_the_process(tmp_path: Path) -> None:
    before = halving()
    for run, value in {"a": 0.5, "b": 0.7, "c": 0.1}.items():
        before.decide(run, 10, value, last_step=LAST)
    write_decisions(tmp_path / "rungs.json", before.decided)
    after = halving(decided=read_decisions(tmp_path / "rungs.json"))
    for rungs in (before, after):
        assert rungs.decide("a", 12, 0.0, last_step=LAST) is None, "the rung is passed"
        assert set(rungs.stopped()) == {"c"}
    assert before.decide("d", 11, 0.55, last_step=LAST) == after.decide("d", 11, 0.55, last_step=LAST)


def test_no_file_is_no_decision(tmp_path: Path) -> None:
    assert read_decisions(tmp_path / "rungs.json") == []


@pytest.mark.parametrize("goal", ["min", "max"])
def test_it_decides_as_tunes_own_scheduler_does(goal: str) -> None:
    """Trials that report at every rung, in random order; trial ids are all that Tune's scheduler reads of a trial."""
    generator = np.random.default_rng(0)
    ours = halving(goal=goal, reduction_factor=3)
    tunes = AsyncHyperBandScheduler("step", "value", goal, max_t=1000, grace_period=10, reduction_factor=3)
    at_work = {f"trial-{number}": 0 for number in range(40)}
    for run in at_work:
        tunes.on_trial_add(None, SimpleNamespace(trial_id=run))
    while at_work:
        run = str(generator.choice(sorted(at_work)))
        at_work[run] += 10
        step, value = at_work[run], float(generator.random())
        theirs = tunes.on_trial_result(None, SimpleNamespace(trial_id=run), {"step": step, "value": value})
        decision = ours.decide(run, step, value, last_step=1000)
        assert (decision is None or decision.goes_on) == (theirs == TrialScheduler.CONTINUE)
        if theirs == TrialScheduler.STOP or step == 300:
            del at_work[run]
    assert len(ours.stopped()) > 10
