"""kill -9 the driver of a sweep ten times at random moments, and count what that cost.

`python -m benchmarks.sweep_kills [--kills 10] [--trials 12] [--seed 0]` from the repository root. A random search of
tiny trials with ASHA runs on a Ray of its own with two CPUs. Each attempt but the last is killed with everything it has
started: every fifth while it starts, the others up to a second after a number of reports of training drawn at random.
It prints a table and ends with status 1 unless there are as many trials in the end as were asked for, and none was
trained twice but for what lay after its last checkpoint when it was killed.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from service.jobs.study_results import RunState
from service.run_files.checkpoints import PREFIX, step_of
from tests.integration.sweep_attempts import SweepAttempts, training_steps
from workers.attempt_folder import AttemptFolder

MOST_REPORTS = 60
"""of training before a kill; a trial that comes to its end makes about eighty"""
STARTING_SECONDS = 15.0
"""within which an attempt that is killed while it starts is killed"""


def main() -> int:
    arguments = _arguments()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="sdcn-", ignore_cleanup_errors=True) as folder:
        home, scratch = Path(folder, "home"), Path(folder, "s")
        home.mkdir()
        scratch.mkdir()
        attempts = SweepAttempts(
            home,
            scratch,
            space={"schedule.learning_rate": {"kind": "log_uniform", "low": 1e-4, "high": 1e-2}},
            search={"kind": "random", "num_trials": arguments.trials},
            early_stopping={"grace_steps": 50, "reduction_factor": 2, "metric": "loss/mil", "goal": "min"},
            overrides={
                "schedule.loop_steps": arguments.steps,
                "schedule.report_every_steps": 5,
                "schedule.checkpoint_every_steps": 25,
            },
        )
        print("| attempt | killed at (s) | succeeded | stopped early | unfinished | not begun | steps lost |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for number in range(1, arguments.kills + 1):
            began = time.monotonic()
            child = attempts.begin()
            if number % 5 == 0:
                moment = _after(moments.uniform(0, STARTING_SECONDS))
            else:
                moment = _after_reports(attempts, moments.randint(1, MOST_REPORTS), moments.random())
            outcome = attempts.end(child, when=moment)
            if outcome is not None:
                print(f"the sweep ended in attempt {attempts.number} before it could be killed: {outcome.status}")
                break
            _print_row(attempts, arguments.trials, time.monotonic() - began)
        results = attempts.attempt()
        return _conclude(attempts, Counter(run.state for run in results.runs), arguments.trials)


def _after(seconds: float) -> Callable[[], bool]:
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() >= deadline


def _after_reports(attempts: SweepAttempts, reports: int, seconds: float) -> Callable[[], bool]:
    """So long after the trials have made so many reports to this attempt."""
    since: list[float] = []

    def now() -> bool:
        if not since and sum(len(training_steps(attempt)) for attempt in attempts.latest()) >= reports:
            since.append(time.monotonic())
        return bool(since) and time.monotonic() - since[0] >= seconds

    return now


def _print_row(attempts: SweepAttempts, trials: int, seconds: float) -> None:
    states = Counter(found.state for found in attempts.found().values())
    begun = len(attempts.runs())
    cells = (
        attempts.number,
        f"{seconds:.1f}",
        states[RunState.SUCCEEDED],
        states[RunState.STOPPED_EARLY],
        begun - states.total(),
        trials - begun,
        _lost(attempts),
    )
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def _lost(attempts: SweepAttempts) -> int:
    """Steps that unfinished trials have reported to the latest attempt beyond their newest checkpoints."""
    lost = 0
    for folder in attempts.runs():
        steps = training_steps(AttemptFolder(folder.path / f"attempt-{attempts.number}"))
        if folder.read_found() is None and steps:
            checkpoints = [step_of(path) for path in (folder.path / "checkpoints").glob(f"{PREFIX}*")]
            lost += max(steps) - max(checkpoints, default=attempts.first_step)
    return lost


def _conclude(attempts: SweepAttempts, states: Counter[RunState], trials: int) -> int:
    interval = attempts.spec.resolved_experiment.schedule.checkpoint_every_steps
    repeated = [steps for each in attempts.steps_repeated().values() for steps in each]
    print(f"\nIn the end: {states.total()} trials, " + ", ".join(f"{n} {state}" for state, n in states.items()) + ".")
    print(
        f"Trained more than once: {sum(repeated)} steps in all, of one trial after one kill {max(repeated)} at most;"
        f" a checkpoint is written every {interval} steps."
    )
    late = attempts.trained_after_the_end()
    print(f"Trials that were trained after they had ended: {', '.join(late) or 'none'}.")
    return 0 if states.total() == trials and max(repeated) <= interval and not late else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--steps", type=int, default=400, help="of stage loop, of each trial")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
