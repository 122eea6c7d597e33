"""What stands between Tune and the desk, without a cluster: Tune's part is played by its own names for things."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from ray.exceptions import RayActorError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from sdcn_core.errors import TrainingDiverged
from workers.errors import OutOfMemory, TrainingProcessLost
from workers.ray_runtime import tune_adapters
from workers.ray_runtime.tune_adapters import (
    RUN,
    STEP,
    VALUE,
    DeskCallback,
    DeskScheduler,
    DeskSearcher,
)
from workers.training.order import RunOrder


class Desk:
    def __init__(self) -> None:
        self.over = False
        self.verdict = True
        self.heard: list[tuple[Any, ...]] = []

    def next_run(self) -> RunOrder | None:
        return None

    def is_over(self) -> bool:
        return self.over

    def goes_on(self, run: str, step: int, value: float) -> bool:
        self.heard.append((run, step, value))
        return self.verdict

    def ended(self, run: str, error: BaseException | None) -> None:
        self.heard.append((run, error))


def trial(error: BaseException | None = None, folder: Path = Path()) -> SimpleNamespace:
    path = folder / "error.pkl"
    if error is not None:
        path.write_bytes(cloudpickle.dumps(error))
    return SimpleNamespace(config={RUN: "trial-000"}, pickled_error_file=str(path))


def told(desk: Desk, failed: SimpleNamespace) -> BaseException:
    DeskCallback(desk, lambda: None).on_trial_error(0, [], failed)
    error = desk.heard[-1][1]
    assert isinstance(error, BaseException)
    return error


def test_a_desk_without_a_run_is_asked_again_until_it_is_over() -> None:
    desk = Desk()
    searcher = DeskSearcher(desk)
    assert searcher.suggest("id") is None
    desk.over = True
    assert searcher.suggest("id") == Searcher.FINISHED


def test_a_report_without_the_metric_is_not_judged() -> None:
    desk = Desk()
    desk.verdict = False
    assert DeskScheduler(desk).on_trial_result(None, trial(), {STEP: 3}) == TrialScheduler.CONTINUE
    assert desk.heard == []


@pytest.mark.parametrize(("verdict", "answer"), [(True, TrialScheduler.CONTINUE), (False, TrialScheduler.STOP)])
def test_the_desks_verdict_is_tunes(verdict: bool, answer: str) -> None:
    desk = Desk()
    desk.verdict = verdict
    assert DeskScheduler(desk).on_trial_result(None, trial(), {STEP: 3, VALUE: 0.5}) == answer
    assert desk.heard == [("trial-000", 3, 0.5)]


def test_a_trials_own_error_reaches_the_desk(tmp_path: Path) -> None:
    error = told(Desk(), trial(TrainingDiverged("loss/mil is nan"), tmp_path))
    assert isinstance(error, TrainingDiverged)


def test_a_trial_whose_process_is_gone_is_lost(tmp_path: Path) -> None:
    assert isinstance(told(Desk(), trial(RayActorError(), tmp_path)), TrainingProcessLost)


def test_a_trial_that_left_no_error_is_lost(tmp_path: Path) -> None:
    assert isinstance(told(Desk(), trial(None, tmp_path)), TrainingProcessLost)


def test_a_trial_that_the_kernel_ended_for_memory_is_not_just_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = iter([0, 1])
    monkeypatch.setattr(tune_adapters, "oom_kills", lambda: next(kills))
    assert isinstance(told(Desk(), trial(RayActorError(), tmp_path)), OutOfMemory)


def test_what_breaks_at_the_desk_is_not_taken_for_a_failure_of_the_trial() -> None:
    class Broken(Desk):
        def ended(self, run: str, error: BaseException | None) -> None:
            raise OSError("the disk is full")

    callback = DeskCallback(Broken(), lambda: None)
    with pytest.raises(OSError, match="disk"):
        callback.on_trial_complete(0, [], trial())
    assert isinstance(callback.broken, OSError)
