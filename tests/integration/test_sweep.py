"""Sweeps of tiny trainings on a real Ray with two CPUs, each attempt in the real child process."""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.jobs.study_results import RunState
from tests.integration.sweep_attempts import SweepAttempts
from workers.attempt_folder import Stopped

pytestmark = pytest.mark.integration

RATE = "schedule.learning_rate"
RATES = {RATE: {"kind": "log_uniform", "low": 1e-4, "high": 1e-2}}
LONGER = {"schedule.loop_steps": 60, "evaluation.pictured_images": 1}
"""so that a trial is not over before it is disturbed"""
KILLS = 2
ANOTHER_RAY = """
import sys
import ray
ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, _temp_dir=sys.argv[1])
print("up", flush=True)
sys.stdin.read()
ray.shutdown()
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Callable[..., SweepAttempts]]:
    with tempfile.TemporaryDirectory(prefix="sdcn-", ignore_cleanup_errors=True) as scratch:
        yield lambda **fields: SweepAttempts(tmp_path, Path(scratch), **fields)


@pytest.fixture
def another_ray() -> Iterator[None]:
    """Of somebody else on this host: whoever looks for a Ray without an address finds two, and gives up."""
    with tempfile.TemporaryDirectory(prefix="sdcn-", ignore_cleanup_errors=True) as scratch:
        theirs = subprocess.Popen(
            [sys.executable, "-c", ANOTHER_RAY, scratch],
            env={**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert theirs.stdin is not None
        assert theirs.stdout is not None
        with theirs.stdin, theirs.stdout:
            while (line := theirs.stdout.readline()) != b"up\n":
                assert line, "the other Ray has not come up"
            yield
        assert theirs.wait(timeout=60) == 0


def test_twelve_trials_with_early_stopping_survive_kills_of_the_driver_and_none_is_trained_twice(
    sweep: Callable[..., SweepAttempts],
) -> None:
    stopping = {"grace_steps": 16, "reduction_factor": 2, "metric": "loss/mil", "goal": "min"}
    search = {"kind": "random", "num_trials": 12}
    attempts = sweep(space=RATES, search=search, early_stopping=stopping, overrides=LONGER)
    for _ in range(KILLS):
        child = attempts.begin()
        attempts.end(child, when=_at_a_random_moment(attempts))
    results = attempts.attempt()

    assert [run.name for run in results.runs] == [f"trial-{number:03d}" for number in range(12)]
    states = {run.state for run in results.runs}
    assert states == {RunState.SUCCEEDED, RunState.STOPPED_EARLY}
    interval = attempts.spec.resolved_experiment.schedule.checkpoint_every_steps
    repeated = [steps for each in attempts.steps_repeated().values() for steps in each]
    assert max(repeated) <= interval, attempts.steps_reported()
    assert attempts.trained_after_the_end() == []


def test_an_optuna_search_that_is_stopped_goes_on_from_its_checkpoints(sweep: Callable[..., SweepAttempts]) -> None:
    attempts = sweep(space=RATES, search={"kind": "optuna", "num_trials": 4}, overrides=LONGER)
    child = attempts.begin()

    def ask_to_stop_when_training() -> bool:
        if attempts.is_training:
            child.ask_to_stop()
        return False

    assert attempts.end(child, when=ask_to_stop_when_training) == Stopped()
    assert len(attempts.found()) < 4
    results = attempts.attempt()
    assert [run.state for run in results.runs] == [RunState.SUCCEEDED] * 4
    assert results.best is not None
    assert not any(steps for each in attempts.steps_repeated().values() for steps in each)


def test_trials_of_several_workers_leave_room_for_their_own_and_give_it_back_when_stopped_early(
    sweep: Callable[..., SweepAttempts], another_ray: None
) -> None:
    # Without learning the loss stays high, so the second and the third trial are stopped where the first went on. Each
    # trial's two workers hold both CPUs.
    results = sweep(
        space={RATE: {"kind": "choice", "values": [1e-3, 1e-9, 2e-9]}},
        search={"kind": "grid"},
        early_stopping={"grace_steps": 14, "reduction_factor": 2, "metric": "loss/mil", "goal": "min"},
        resources={"num_workers": 2},
        overrides={**LONGER, "schedule.loop_steps": 24},  # nobody disturbs them: the first need only outlive the others
        share_stages=False,
    ).attempt()
    first, *others = results.runs
    assert first.state is RunState.SUCCEEDED
    assert [run.state for run in others] == [RunState.STOPPED_EARLY] * 2
    assert all(run.global_step < first.global_step for run in others)


def _at_a_random_moment(attempts: SweepAttempts) -> Callable[[], bool]:
    """Up to a second after this attempt has trained something and up to three more trials have ended."""
    ended = len(attempts.found()) + random.randint(0, 3)
    pause_s = random.random()
    since: list[float] = []

    def now() -> bool:
        if not since and attempts.is_training and len(attempts.found()) >= ended:
            since.append(time.monotonic())
        return bool(since) and time.monotonic() - since[0] >= pause_s

    return now
