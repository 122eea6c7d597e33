"""The ledger's keeper without Tune: a run that "trains" is a spool and a found.json."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdcn_core.config.data import DataConfig
from sdcn_core.errors import DatasetError, TrainingDiverged
from service.jobs.runs import PlannedRun
from service.jobs.states import FailureReason
from service.jobs.study_results import RunState
from service.jobs.sweep_spec import SweepSpec
from tests.workers.sweep.specs import MIL, SEG, found, sweep
from workers.attempt_folder import RunFolder
from workers.errors import TrainingProcessLost
from workers.spool import EventSpool, MetricsEvent, ProgressEvent
from workers.study.piece_queue import TRIES
from workers.sweep.conductor import Conductor
from workers.sweep.ledger import Ledger
from workers.sweep.probes import known_runs
from workers.sweep.results import sweep_results
from workers.training.order import RunOrder

RANDOM = {"space": {MIL: {"kind": "uniform", "low": 0, "high": 1}}, "search": {"kind": "random", "num_trials": 4}}
HALVING = {**RANDOM, "early_stopping": {"grace_steps": 4, "reduction_factor": 2, "metric": "loss/mil", "goal": "min"}}


class Attempts:
    """Attempts at one sweep, one after another, in a folder."""

    def __init__(self, home: Path, spec: SweepSpec) -> None:
        self.spec = spec
        self.job = RunFolder(home, "job")
        self.told: list[str] = []
        self.number = 0
        self.stopping = False
        self.missing_data = False

    def order_of(self, run: PlannedRun) -> RunOrder:
        return RunOrder(
            name=run.name,
            variant=run.variant,
            seed=run.seed,
            overrides=dict(run.overrides),
            experiment=run.experiment,
            run_path=self.job.path / "runs" / run.name,
            attempt=self.number,
            stop=self.job.path / "stop",
            home=self.job.path,
            data_root=self.job.path,
            weights_root=self.job.path,
            cpus=1,
            checkpoints_to_keep=2,
            metric=self.spec.metric,
        )

    def prepare(self, data: DataConfig) -> None:
        if self.missing_data:
            raise DatasetError("data.source.path: no such folder")

    def begin(self) -> Conductor:
        self.number += 1
        return Conductor(
            self.spec,
            Ledger(self.job, known_runs(self.spec), self.order_of),
            rungs=self.job.path / "rungs.json",
            is_stopping=lambda: self.stopping,
            prepare=self.prepare,
            tell=self.told.append,
        )

    def report(self, order: RunOrder, step: int, **metrics: float) -> None:
        order.folder.path.mkdir(parents=True, exist_ok=True)
        spool = EventSpool(order.folder.events)
        values = {name.replace("_", "/", 1): value for name, value in metrics.items()}
        spool.append(ProgressEvent(stage="loop", step=step, stage_steps=9, fraction=0.5, global_step=step))
        spool.append(MetricsEvent(global_step=step, values=values))
        spool.close()

    def finish(self, conductor: Conductor, order: RunOrder, value: float | None = 0.5, **fields: Any) -> None:
        told = found(order.name, value, overrides=order.overrides, **{"state": RunState.SUCCEEDED, **fields})
        conductor._ledger.write_found(told)
        conductor.ended(order.name, None)


@pytest.fixture
def attempts(tmp_path: Path) -> Callable[..., Attempts]:
    return lambda **fields: Attempts(tmp_path, sweep(**fields))


def take(conductor: Conductor) -> RunOrder:
    order = conductor.next_run()
    assert order is not None
    return order


def names(conductor: Conductor) -> list[str]:
    return [order.name for order in iter(conductor.next_run, None)]


def test_a_grids_trials_come_in_order_with_every_seed(attempts: Callable[..., Attempts]) -> None:
    conductor = attempts(seeds=[0, 1]).begin()
    assert names(conductor) == [
        "trial-000-lambda_mil-0.1-seed0",
        "trial-000-lambda_mil-0.1-seed1",
        "trial-001-lambda_mil-1.0-seed0",
        "trial-001-lambda_mil-1.0-seed1",
    ]


def test_exactly_as_many_trials_are_drawn_as_were_asked_for(attempts: Callable[..., Attempts]) -> None:
    assert names(attempts(**RANDOM).begin()) == ["trial-000", "trial-001", "trial-002", "trial-003"]


def test_a_trial_is_written_down_before_it_is_handed_out(attempts: Callable[..., Attempts]) -> None:
    sweep = attempts(**RANDOM)
    order = take(sweep.begin())
    assert (order.run_path / "run.json").exists()


def test_after_a_kill_finished_trials_rest_unfinished_go_on_and_missing_ones_are_drawn(
    attempts: Callable[..., Attempts],
) -> None:
    undisturbed = [dict(o.overrides) for o in iter(attempts(**RANDOM).begin().next_run, None)]
    sweep = attempts(**RANDOM)
    sweep.job = RunFolder(sweep.job.path.parent, "killed")
    first = sweep.begin()
    done, cut = take(first), take(first)
    sweep.finish(first, done)
    second = sweep.begin()
    orders = list(iter(second.next_run, None))
    assert [order.name for order in orders] == [cut.name, "trial-002", "trial-003"]
    assert [dict(o.overrides) for o in (done, *orders)] == undisturbed


def test_a_kill_between_a_verdict_and_its_record_stops_the_trial_all_the_same(
    attempts: Callable[..., Attempts],
) -> None:
    sweep = attempts(**HALVING)
    first = sweep.begin()
    good, bad = take(first), take(first)
    for order, loss in ((good, 0.1), (bad, 0.9)):
        sweep.report(order, 4, loss_mil=loss)
    assert first.goes_on(good.name, 4, 0.1)
    assert not first.goes_on(bad.name, 4, 0.9)
    (bad.run_path / "found.json").unlink()
    second = sweep.begin()
    assert [run.state for run in second.found] == [RunState.STOPPED_EARLY]
    assert names(second) == [good.name, "trial-002", "trial-003"]


def test_a_trial_that_was_stopped_is_not_judged_again_while_its_group_leaves_off(
    attempts: Callable[..., Attempts],
) -> None:
    sweep = attempts(**HALVING)
    first = sweep.begin()
    good, bad = take(first), take(first)
    first.goes_on(good.name, 4, 0.1)
    assert not first.goes_on(bad.name, 4, 0.9)
    (ended,) = first.found
    assert not first.goes_on(bad.name, 400, 0.0)
    assert first.found == (ended,)


def test_a_trial_that_was_stopped_early_keeps_no_checkpoint(attempts: Callable[..., Attempts]) -> None:
    sweep = attempts(**HALVING)
    first = sweep.begin()
    good, bad, cut = take(first), take(first), take(first)
    for order in (good, bad, cut):
        (order.checkpoints / "step-000000004-0").mkdir(parents=True)
    assert first.goes_on(good.name, 4, 0.1)
    assert not first.goes_on(bad.name, 4, 0.9)
    assert bad.checkpoints.exists(), "a group of processes may be writing there until it has left off"
    first.ended(bad.name, None)
    assert not bad.checkpoints.exists()
    assert not first.goes_on(cut.name, 4, 0.9)
    sweep.begin()  # after a kill
    assert not cut.checkpoints.exists()
    assert good.checkpoints.exists()


def test_a_new_trial_is_measured_against_those_of_earlier_attempts(attempts: Callable[..., Attempts]) -> None:
    sweep = attempts(**HALVING)
    first = sweep.begin()
    good = take(first)
    first.goes_on(good.name, 4, 0.1)
    sweep.finish(first, good)
    second = sweep.begin()
    late = take(second)
    assert not second.goes_on(late.name, 4, 0.5)


def test_a_trial_that_was_stopped_early_keeps_what_it_had_reported(attempts: Callable[..., Attempts]) -> None:
    sweep = attempts(**HALVING, metric="loss/mil", goal="min")
    first = sweep.begin()
    good, bad = take(first), take(first)
    first.goes_on(good.name, 4, 0.1)
    sweep.report(bad, 2, loss_mil=0.95)
    sweep.report(bad, 4, loss_mil=0.9)
    first.goes_on(bad.name, 4, 0.9)
    first.ended(bad.name, None)
    (stopped,) = first.found
    assert (stopped.state, stopped.value, stopped.global_step) == (RunState.STOPPED_EARLY, 0.9, 4)


def test_a_trial_whose_process_is_lost_is_tried_again_after_the_others(attempts: Callable[..., Attempts]) -> None:
    conductor = attempts().begin()
    lost, other = take(conductor), take(conductor)
    conductor.ended(lost.name, TrainingProcessLost("gone"))
    assert conductor.found == ()
    assert take(conductor).name == lost.name
    assert conductor.at_work == (other.name, lost.name)


def test_a_trial_that_is_lost_time_and_again_has_failed_for_this_attempt(attempts: Callable[..., Attempts]) -> None:
    sweep = attempts(space={MIL: {"kind": "choice", "values": [1.0]}})
    conductor = sweep.begin()
    for _ in range(TRIES):
        assert not conductor.is_over()
        conductor.ended(take(conductor).name, TrainingProcessLost("gone"))
    assert conductor.is_over()
    (failed,) = conductor.found
    assert failed.failure is not None
    assert failed.failure.reason is FailureReason.LOST_WORKER
    assert sweep.begin().found == (), "another attempt may have more luck"


def test_a_trial_that_diverged_has_failed_and_is_not_tried_again(attempts: Callable[..., Attempts]) -> None:
    sweep = attempts(**RANDOM)
    first = sweep.begin()
    first.ended(take(first).name, TrainingDiverged("loss/mil is nan at step 3"))
    assert names(sweep.begin()) == ["trial-001", "trial-002", "trial-003"]


def test_a_metric_that_a_finished_trial_never_reported_is_a_failure_that_names_those_there_are(
    attempts: Callable[..., Attempts],
) -> None:
    sweep = attempts(metric="eval/unheard-of")
    conductor = sweep.begin()
    order = take(conductor)
    sweep.report(order, 3, loss_mil=0.2, eval_mean_ap=0.4)
    sweep.finish(conductor, order, value=None)
    (failed,) = conductor.found
    assert failed.state is RunState.FAILED
    assert failed.failure is not None
    assert failed.failure.reason is FailureReason.BAD_INPUT
    assert failed.failure.message == ("metric eval/unheard-of was never reported; there are: eval/mean_ap, loss/mil")


def test_where_nobody_drew_boxes_a_trial_without_its_metric_says_that_first(
    attempts: Callable[..., Attempts],
) -> None:
    sweep = attempts(metric="eval/mean_corloc")
    conductor = sweep.begin()
    order = take(conductor)
    sweep.report(order, 3, eval_mean_ap=0.4)
    judged = {"ap": {}, "mean_ap": 0.4, "corloc": {}, "mean_corloc": None, "without_boxes": ("train",)}
    counted = {"num_test_images": 1, "num_train_images": 1, "seconds_per_image": None}
    sweep.finish(conductor, order, value=None, judgement=judged | counted)
    (failed,) = conductor.found
    assert failed.failure is not None
    assert failed.failure.message == (
        "no boxes in the training split: CorLoc cannot be counted; compare by another metric: metric eval/mean_corloc"
        " was never reported; there are: eval/mean_ap"
    )


def test_a_trial_that_failed_for_want_of_its_metric_is_not_tried_again_and_the_others_go_on(
    attempts: Callable[..., Attempts],
) -> None:
    sweep = attempts(**RANDOM)
    first = sweep.begin()
    sweep.finish(first, take(first), value=None)
    sweep.finish(first, take(first), value=0.7)
    again = sweep.begin()
    assert names(again) == ["trial-002", "trial-003"]
    results = sweep_results(sweep.spec, again.found, (), wall_seconds=1)
    assert results.best == "trial-001"
    assert [run.name for run in results.best_first()] == ["trial-001", "trial-000"]


def test_values_that_do_not_go_together_are_a_failed_trial_and_the_sweep_goes_on(
    attempts: Callable[..., Attempts],
) -> None:
    space = {
        "model.detection.refinements": {"kind": "choice", "values": [0, 2]},
        "objective.detection_instructs_segmentation": {"kind": "choice", "values": [False, True]},
    }
    overrides = {"objective.detection_instructs_segmentation": False}
    search = {"kind": "random", "num_trials": 12}
    sweep = attempts(space=space, overrides=overrides, search=search)
    conductor = sweep.begin()
    possible = names(conductor)
    refused = conductor.found
    assert len(possible) + len(refused) == 12
    assert 0 < len(refused) < 12
    assert all(run.failure and "refinements" in run.failure.message for run in refused)


def test_data_that_are_missing_fail_their_trials_alone(attempts: Callable[..., Attempts]) -> None:
    sweep = attempts(**RANDOM)
    conductor = sweep.begin()
    take(conductor)
    sweep.missing_data = True
    assert names(conductor) == []
    assert [run.failure and run.failure.reason for run in conductor.found] == [FailureReason.BAD_INPUT] * 3


def test_optuna_draws_after_a_restart_what_it_would_have_drawn(attempts: Callable[..., Attempts]) -> None:
    sweep = attempts(**{**RANDOM, "search": {"kind": "optuna", "num_trials": 14, "seed": 1}})
    conductor = sweep.begin()
    for _ in range(12):
        order = take(conductor)
        sweep.finish(conductor, order, value=float(order.overrides[MIL]))  # type: ignore[arg-type]
    expected = conductor._draw(12)
    assert dict(take(sweep.begin()).overrides) == expected


def test_nothing_is_handed_out_to_an_attempt_that_was_asked_to_end(attempts: Callable[..., Attempts]) -> None:
    sweep = attempts(**RANDOM)
    conductor = sweep.begin()
    order = take(conductor)
    sweep.stopping = True
    assert conductor.next_run() is None
    conductor.ended(order.name, None)
    assert conductor.found == ()
    assert not conductor.is_complete


def test_the_log_is_told_how_far_the_sweep_is(attempts: Callable[..., Attempts]) -> None:
    sweep = attempts(space={SEG: {"kind": "choice", "values": [1, 2, 3]}})
    conductor = sweep.begin()
    sweep.finish(conductor, take(conductor), 0.25)
    sweep.finish(conductor, take(conductor), 0.4125)
    conductor.ended(take(conductor).name, TrainingDiverged("no"))
    assert conductor.is_complete
    assert sweep.told[-1] == ("3 of 3 trials ended, 1 failed; best eval/mean_ap 0.4125, trial-001-lambda_seg-2")
