"""What stands between Tune and the desk, without a cluster: Tune's part is played by its own names for things."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import cloudpickle
from ray.exceptions import RayActorError
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from sdcn_core.config.presets import preset
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
        self.at_work: tuple[str, ...] = ()
        self.over = False
        self.verdict = True
        self.heard: list[tuple[Any, ...]] = []

    def next_run(self) -> RunOrder | None:
        return None if self.over else ORDER

    def is_over(self) -> bool:
        return self.over

    def goes_on(self, run: str, step: int, value: float) -> bool:
        self.heard.append((run, step, value))
        return self.verdict

    def ended(self, run: str, error: BaseException | None) -> None:
        self.heard.append((run, error))


ORDER = RunOrder(
    name="trial-000",
    variant="trial-000",
    seed=0,
    overrides={},
    experiment=preset("tiny"),
    run_path=Path(),
    attempt=1,
    stop=Path("stop"),
    home=Path(),
    data_root=Path(),
    weights_root=Path(),
    cpus=1,
    checkpoints_to_keep=1,
)


def trial(error: BaseException | None = None, folder: Path = Path()) -> SimpleNamespace:
    path = folder / "error.pkl"
    if error is not None:
        path.write_bytes(cloudpickle.dumps(error))
    status = "ERROR" if error is not None else "RUNNING"
    return SimpleNamespace(config={RUN: "trial-000"}, trial_id="id", status=status, pickled_error_file=str(path))


def told(desk: Desk, failed: SimpleNamespace) -> BaseException:
    DeskCallback(desk, lambda: None).on_trial_error(0, [], failed)
    error = desk.heard[-1][1]
    assert isinstance(error, BaseException)
    return error


def test_a_run_is_handed_out_where_fewer_are_at_work_than_may_be() -> None:
    desk = Desk()
    searcher = DeskSearcher(desk, 2)
    desk.at_work = ("a",)
    suggested = searcher.suggest("id")
    assert isinstance(suggested, dict)
    assert RunOrder.model_validate_json(suggested[tune_adapters.ORDER]) == ORDER
    desk.at_work = ("a", "b")
    assert searcher.suggest("id") is None


def test_the_search_is_finished_when_the_desk_is_over() -> None:
    desk = Desk()
    desk.over = True
    assert DeskSearcher(desk, 2).suggest("id") == Searcher.FINISHED


def test_a_trial_that_fails_without_a_call_is_told_once(tmp_path: Path) -> None:
    desk = Desk()
    ticks: list[None] = []
    callback = DeskCallback(desk, lambda: ticks.append(None))
    failed = trial(TrainingDiverged("no"), tmp_path)
    for _ in range(3):
        callback.on_step_end(0, [failed, trial(None, tmp_path)])
    assert len(desk.heard) == 1
    assert len(ticks) == 3


def test_a_report_without_the_metric_is_not_judged() -> None:
    desk = Desk()
    desk.verdict = False
    scheduler = DeskScheduler(desk, ends_processes=True)
    assert scheduler.on_trial_result(None, trial(), {STEP: 3}) == TrialScheduler.CONTINUE
    assert desk.heard == []


@pytest.mark.parametrize(("verdict", "answer"), [(True, TrialScheduler.CONTINUE), (False, TrialScheduler.STOP)])
def test_the_desks_verdict_is_tunes(verdict: bool, answer: str) -> None:
    desk = Desk()
    desk.verdict = verdict
    scheduler = DeskScheduler(desk, ends_processes=True)
    assert scheduler.on_trial_result(None, trial(), {STEP: 3, VALUE: 0.5}) == answer
    assert desk.heard == [("trial-000", 3, 0.5)]


def test_the_driver_of_a_group_is_not_ended_with_the_group_still_holding_its_cpus() -> None:
    desk = Desk()
    desk.verdict = False
    scheduler = DeskScheduler(desk, ends_processes=False)
    assert scheduler.on_trial_result(None, trial(), {STEP: 3, VALUE: 0.5}) == TrialScheduler.CONTINUE
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
