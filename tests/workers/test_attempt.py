import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sdcn_core.config.data import ScenesSource, VocSource
from sdcn_core.errors import DatasetError
from service.jobs.specs import (
    AblationSpec,
    CheckDataSpec,
    EvaluateSpec,
    JobSpec,
    PredictSpec,
    SecondStageSpec,
    SweepSpec,
    TrainSpec,
)
from service.jobs.states import FailureReason
from workers import attempt
from workers.attempt_folder import AttemptFolder, AttemptOrder, Failed, Outcome, RayOrder, Stopped, Succeeded
from workers.errors import AttemptStopped, TrainingProcessLost
from workers.lease_watch import DESCRIPTOR, LEASE_OVER, LeasePipe


@pytest.fixture
def order(tmp_path: Path) -> AttemptOrder:
    return AttemptOrder(
        job_id="job",
        attempt=1,
        spec=TrainSpec(preset="tiny").resolve(),
        home=tmp_path,
        data_root=tmp_path / "data",
        weights_root=tmp_path / "weights",
        scratch=tmp_path,
        ray=RayOrder(address="local", auth_mode="token", start_timeout_s=60, num_cpus=1, checkpoints_to_keep=2),
    )


@pytest.fixture
def folder(tmp_path: Path, order: AttemptOrder) -> AttemptFolder:
    folder = AttemptFolder(tmp_path / "runs" / "job" / "attempt-1")
    folder.path.mkdir(parents=True)
    folder.write_order(order)
    return folder


def run_with(monkeypatch: pytest.MonkeyPatch, folder: AttemptFolder, result: Outcome | BaseException) -> Outcome:
    def execute(_order: AttemptOrder, _folder: AttemptFolder) -> Outcome:
        if isinstance(result, BaseException):
            raise result
        return result

    monkeypatch.setattr(attempt, "_execute", execute)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return attempt.run(folder)


def test_an_order_is_read_back_as_it_was_given(folder: AttemptFolder, order: AttemptOrder) -> None:
    assert folder.read_order() == order


@pytest.mark.parametrize(
    "outcome",
    [Succeeded(results={"a": None}), Failed(reason=FailureReason.DIVERGED, message="why"), Stopped()],
)
def test_an_outcome_is_read_back_as_it_was_written(folder: AttemptFolder, outcome: Outcome) -> None:
    folder.write_outcome(outcome)
    assert folder.read_outcome() == outcome


def test_half_an_outcome_is_none(folder: AttemptFolder) -> None:
    folder.outcome.write_text('{"status": "succ')
    assert folder.read_outcome() is None


def test_an_error_becomes_its_failure(monkeypatch: pytest.MonkeyPatch, folder: AttemptFolder) -> None:
    failure = run_with(monkeypatch, folder, DatasetError("a.xml is broken"))
    assert failure == Failed(reason=FailureReason.BAD_INPUT, message="a.xml is broken")


@pytest.mark.parametrize("ending", [AttemptStopped("asked"), KeyboardInterrupt(), SystemExit(0)])
def test_a_stop_and_an_interrupt_are_stops(
    monkeypatch: pytest.MonkeyPatch, folder: AttemptFolder, ending: BaseException
) -> None:
    assert run_with(monkeypatch, folder, ending) == Stopped()


def test_what_an_interrupted_ray_raises_is_a_stop_if_one_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, folder: AttemptFolder
) -> None:
    lost = TrainingProcessLost("gone")
    assert isinstance(run_with(monkeypatch, folder, lost), Failed)
    folder.stop.touch()
    assert run_with(monkeypatch, folder, lost) == Stopped()


def test_bad_input_is_told_even_if_a_stop_was_asked_for(monkeypatch: pytest.MonkeyPatch, folder: AttemptFolder) -> None:
    folder.stop.touch()
    assert isinstance(run_with(monkeypatch, folder, DatasetError("a.xml is broken")), Failed)


def test_a_study_of_which_every_run_failed_for_a_passing_reason_is_a_stop_if_one_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, folder: AttemptFolder
) -> None:
    lost = Failed(reason=FailureReason.LOST_WORKER, message="none of the 2 runs succeeded")
    assert run_with(monkeypatch, folder, lost) == lost
    folder.stop.touch()
    assert run_with(monkeypatch, folder, lost) == Stopped()


@pytest.mark.parametrize(
    ("spec", "executor"),
    [
        (TrainSpec(preset="tiny").resolve(), "train"),
        (AblationSpec(preset="tiny", study="table-2").resolve(), "ablation"),
        (SweepSpec(preset="tiny", study="figure-5").resolve(), "sweep"),
        (EvaluateSpec(model="ab12").resolve(), "evaluate"),
        (PredictSpec(model="ab12", folder="images").resolve(), "predict"),
        (SecondStageSpec(model="ab12").resolve(), "second_stage"),
        (CheckDataSpec(source=ScenesSource()).resolve(), "check_data"),
    ],
)
def test_every_kind_of_job_has_its_executor(
    monkeypatch: pytest.MonkeyPatch, folder: AttemptFolder, order: AttemptOrder, spec: JobSpec, executor: str
) -> None:
    folder.write_order(order.model_copy(update={"spec": spec}))
    module = importlib.import_module(f"workers.executors.{executor}")
    monkeypatch.setattr(module, executor, lambda context: Succeeded(results={"kind": context.order.spec.kind}))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert attempt.run(folder) == Succeeded(results={"kind": executor})


def start_child(folder: AttemptFolder, lease: LeasePipe | None = None) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "workers.attempt", str(folder.path), str(os.getpid())]
    return subprocess.Popen(
        command,
        env=os.environ | ({} if lease is None else {DESCRIPTOR: str(lease.child_end)}),
        pass_fds=[] if lease is None else [lease.child_end],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def test_an_order_that_cannot_be_read_is_an_outcome_too(folder: AttemptFolder) -> None:
    folder.order.write_text("{")
    assert start_child(folder).wait(timeout=30) == 0
    outcome = folder.read_outcome()
    assert isinstance(outcome, Failed)
    assert outcome.reason is FailureReason.INFRASTRUCTURE


def test_a_child_whose_lease_is_over_ends_without_an_outcome(folder: AttemptFolder, order: AttemptOrder) -> None:
    spec = CheckDataSpec(name="animals", source=VocSource(path="nowhere")).resolve()
    folder.write_order(order.model_copy(update={"spec": spec}))
    lease = LeasePipe()
    lease.tell(time.monotonic() - 1)
    assert start_child(folder, lease).wait(timeout=60) == LEASE_OVER
    assert not folder.outcome.exists()
    lease.close()
    os.close(lease.child_end)


def test_a_child_of_nobody_does_not_start(folder: AttemptFolder) -> None:
    done = subprocess.run([sys.executable, "-m", "workers.attempt", str(folder.path), "1"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not folder.outcome.exists()


def test_wrong_arguments_are_refused() -> None:
    assert attempt.main([]) == 2
