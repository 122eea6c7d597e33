"""A run of a study, for real, in this process."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.training.progress import Stage, TrainingReport
from sdcn_core.training.shared_stages import StageStore, stage_key
from service.jobs.states import FailureReason
from service.jobs.study_results import RunFailure, RunFound, RunState
from service.run_files.checkpoints import step_of
from workers.errors import AttemptStopped
from workers.spool import ResumedEvent, SpoolReader
from workers.study import run as run_module
from workers.study.run import ended, run_study_run
from workers.study.run_folder import RunRecord, StudyRunFolder
from workers.study.stage import train_stage
from workers.training.lock import held
from workers.training.order import RunOrder, TrainingOrder

HOT = {
    "schedule.optimizer": "sgd",
    "schedule.learning_rate": 10,
    "schedule.clip_norm": None,
    "schedule.warmup_steps": 0,
    "objective.lambda_mil": 1000,
}
"""what no training survives"""

Ordered = Callable[..., RunOrder]


def stop_at(step: int, stop: Path) -> Callable[[TrainingReport], bool]:
    def on_report(report: TrainingReport) -> bool:
        if report.global_step >= step:
            stop.touch()
        return False

    return on_report


def end_at(step: int) -> Callable[[TrainingReport], bool]:
    return lambda report: report.global_step >= step


def resumed_at(order: RunOrder) -> list[int]:
    events = SpoolReader(order.folder.events).read()
    return [event.global_step for event in events if isinstance(event, ResumedEvent)]


def test_an_end_that_was_written_while_it_trained_stands(ordered: Ordered) -> None:
    order = ordered(metric="loss/mil")
    folder = StudyRunFolder(order.run_path)
    settled: list[RunFound] = []

    def stop_early(report: TrainingReport) -> bool:
        if not settled:
            settled.append(ended(order, RunState.STOPPED_EARLY))
            folder.write_found(settled[0])
        return report.global_step >= 6

    assert run_study_run(order, on_report=stop_early) == settled[0]
    assert folder.read_found() == settled[0]
    assert not order.checkpoints.exists()


def test_a_run_leaves_its_record_its_files_its_log_and_how_it_ended(
    ordered: Ordered, caplog: pytest.LogCaptureFixture
) -> None:
    order = ordered(metric="eval/mean_ap")
    with caplog.at_level(logging.INFO):
        found = run_study_run(order)
    assert found.state is RunState.SUCCEEDED, found.failure
    assert "starting" in order.folder.log.read_text()
    assert found.judgement is not None
    assert found.value == found.judgement.mean_ap
    assert found.global_step == 12
    assert found.train_seconds > 0
    folder = StudyRunFolder(order.run_path)
    assert folder.read_found() == found
    assert RunRecord.model_validate_json(folder.record.read_bytes()).experiment == order.experiment
    kept = {path.name for path in folder.artifacts.iterdir()}
    assert {"config.json", "results.json", "results.csv", "detections.png", "predictions.npz", "model.pt"} <= kept
    assert not order.checkpoints.exists()
    assert not order.folder.work.exists()


def test_a_run_that_has_ended_is_not_trained_again(ordered: Ordered) -> None:
    order = ordered(attempt=2)
    order.run_path.mkdir(parents=True)
    ended = RunFound(name="sdcn", variant="sdcn", seed=0, overrides={}, state=RunState.STOPPED_EARLY)
    StudyRunFolder(order.run_path).write_found(ended)
    assert run_study_run(order) == ended
    assert not order.folder.path.exists()


@pytest.mark.parametrize("kept", ["on disk", "in a store"])
def test_a_stopped_run_goes_on_from_its_checkpoint_to_the_same_numbers(
    ordered: Ordered, kept: str, prepared_home: Path, request: pytest.FixtureRequest
) -> None:
    whole = run_study_run(ordered("whole"))
    url = None if kept == "on disk" else request.getfixturevalue("bucket_url")
    order = ordered(
        "cut", run_path=prepared_home / "runs" / kept.replace(" ", "-") / "runs" / "cut", checkpoints_url=url
    )
    with pytest.raises(AttemptStopped):
        run_study_run(order, on_report=stop_at(7, order.stop))
    assert not StudyRunFolder(order.run_path).found.exists()
    assert len(list(order.checkpoints.iterdir())) == 2
    order.stop.unlink()
    again = order.model_copy(update={"attempt": 2})
    found = run_study_run(again)
    assert resumed_at(again) == [8]  # it is asked at a report, and answers at the next
    assert found.judgement is not None
    assert whole.judgement is not None
    timing = {"seconds_per_image"}
    assert found.judgement.model_dump(exclude=timing) == whole.judgement.model_dump(exclude=timing)
    assert not order.checkpoints.exists(), "nobody goes on from an end"


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(ordered: Ordered) -> None:
    order = ordered()
    with pytest.raises(AttemptStopped):
        run_study_run(order, on_report=stop_at(7, order.stop))
    order.stop.unlink()
    older, newest = sorted(order.checkpoints.iterdir(), key=step_of)
    (newest / "checkpoint.pt").write_bytes(b"half a file")
    again = order.model_copy(update={"attempt": 2})
    assert run_study_run(again).state is RunState.SUCCEEDED
    assert resumed_at(again) == [step_of(older)]


def test_a_listener_that_has_heard_enough_ends_the_run_early(ordered: Ordered) -> None:
    order = ordered(metric="loss/mil")
    found = run_study_run(order, on_report=end_at(6))
    assert (found.state, found.global_step, found.judgement) == (RunState.STOPPED_EARLY, 6, None)
    assert found.value is not None
    assert StudyRunFolder(order.run_path).read_found() == found


def test_a_run_is_not_ended_early_once_it_is_being_judged(ordered: Ordered) -> None:
    def enough_when_judged(report: TrainingReport) -> bool:
        return report.progress.stage is Stage.EVALUATE

    assert run_study_run(ordered(), on_report=enough_when_judged).state is RunState.SUCCEEDED


def test_a_run_that_diverges_has_failed_for_good(ordered: Ordered, experiment: ExperimentConfig) -> None:
    hot = experiment.with_overrides(HOT)
    order = ordered(experiment=hot)
    found = run_study_run(order)
    assert found.state is RunState.FAILED
    assert found.failure is not None
    assert found.failure.reason is FailureReason.DIVERGED
    assert StudyRunFolder(order.run_path).read_found() == found


def test_a_folder_that_is_still_written_is_left_alone(ordered: Ordered, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "LOCK_TIMEOUT_S", 0.0)
    order = ordered()
    with held(order.run_path / "lock", timeout_s=0):
        found = run_study_run(order)
    assert found.failure is not None
    assert found.failure.reason is FailureReason.INFRASTRUCTURE
    assert "earlier attempt" in found.failure.message
    assert not StudyRunFolder(order.run_path).found.exists()


def test_a_passing_failure_is_forgotten_before_the_next_attempt_and_no_other(tmp_path: Path) -> None:
    folder = StudyRunFolder(tmp_path)
    for reason, stays in ((FailureReason.LOST_WORKER, False), (FailureReason.DIVERGED, True)):
        failure = RunFailure(reason=reason, message="why")
        folder.write_found(
            RunFound(name="a", variant="a", seed=0, overrides={}, state=RunState.FAILED, failure=failure)
        )
        folder.forget_passing_failure()
        assert folder.found.exists() is stays


def test_a_run_that_starts_after_shared_stages_finds_what_it_finds_alone(
    ordered: Ordered, experiment: ExperimentConfig, tmp_path: Path
) -> None:
    stages = tmp_path / "stages"
    fields = set(TrainingOrder.model_fields)
    piece = ordered(".shared", stages=stages, until=Stage.CLASSIFIER).model_dump(include=fields)
    assert train_stage(TrainingOrder.model_validate(piece)) is None
    assert StageStore(stages).find(stage_key(experiment, Stage.CLASSIFIER, num_workers=1)) is not None

    alone = run_study_run(ordered("alone"))
    shared = ordered("shared", stages=stages)
    found = run_study_run(shared)
    assert found.judgement is not None
    assert alone.judgement is not None
    timing = {"seconds_per_image"}
    assert found.judgement.model_dump(exclude=timing) == alone.judgement.model_dump(exclude=timing)
    told = [json.loads(line) for line in shared.folder.events.read_text().splitlines()]
    assert {event["stage"] for event in told if event["kind"] == "progress"} == {"apart", "loop", "evaluate"}


def test_shared_stages_that_fail_say_why(ordered: Ordered, experiment: ExperimentConfig, tmp_path: Path) -> None:
    hot = experiment.with_overrides({**HOT, "schedule.apart_steps": 20})
    failure = train_stage(ordered(".shared", experiment=hot, stages=tmp_path / "stages", until=Stage.APART))
    assert failure is not None
    assert failure.reason is FailureReason.DIVERGED
