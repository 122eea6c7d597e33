"""The child process of one attempt: `python -m workers.attempt <attempt folder> <pid of the supervisor>`.

It does what spec.json orders and leaves outcome.json, or dies without: the supervisor tells the two apart. It leads a
process session of its own and dies with its parent. Exit status: 0 an outcome was written, whatever it says; 2 wrong
arguments; 69 Ray was lost; 74 the outcome could not be written; 75 the lease was over.
"""

import logging
import os
import signal
import sys
from pathlib import Path
from typing import assert_never

from workers.attempt_folder import OUTCOME_UNWRITTEN, AttemptFolder, AttemptOrder, Failed, Outcome, Stopped
from workers.attempt_logging import log_attempt, log_output
from workers.errors import AttemptStopped
from workers.failures import failure_of
from workers.lease_watch import stay_if_over, watch_lease
from workers.processes import die_with
from workers.ray_runtime.environment import ray_environment
from workers.spool import BegunEvent, EventSpool

log = logging.getLogger("workers.attempt")


def main(arguments: list[str]) -> int:
    """Run one attempt; the exit status."""
    if len(arguments) != 2 or not arguments[1].isdigit():
        sys.stderr.write("usage: python -m workers.attempt <attempt folder> <pid of the supervisor>\n")
        return 2
    die_with(int(arguments[1]))
    folder = AttemptFolder(Path(arguments[0]))
    log_attempt(folder.run_path.name, folder.number)
    log_output()
    watch_lease()
    # SIGTERM asks politely, as the stop file does; SIGINT is Python's or, while training, Ray's: drop the work.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: folder.stop.touch())
    outcome = run(folder)
    stay_if_over()
    try:
        folder.write_outcome(outcome)
    except OSError:
        log.exception("the outcome could not be written: %s", outcome.status)
        return OUTCOME_UNWRITTEN
    return 0


def run(folder: AttemptFolder) -> Outcome:
    """Carry out the attempt; every way it can end is an outcome."""
    try:
        order = folder.read_order()
        os.environ.update(ray_environment(order.ray, order.scratch))
        outcome = _execute(order, folder)
        return _after_failure(outcome, folder) if isinstance(outcome, Failed) else outcome
    except AttemptStopped:
        return Stopped()
    except (KeyboardInterrupt, SystemExit):  # an interrupt; Ray answers it by leaving the process
        log.warning("interrupted")
        return Stopped()
    except Exception as error:
        log.exception("the attempt failed")
        return _after_failure(failure_of(error), folder)


def _execute(order: AttemptOrder, folder: AttemptFolder) -> Outcome:
    from workers.executors.base import JobContext  # here, so that Ray finds its environment when it is imported

    context = JobContext(order, folder, EventSpool(folder.events))
    context.spool.append(BegunEvent())
    match order.spec.kind:
        case "train":
            from workers.executors.train import train

            return train(context)
        case "ablation":
            from workers.executors.ablation import ablation

            return ablation(context)
        case "sweep":
            from workers.executors.sweep import sweep

            return sweep(context)
        case "evaluate":
            from workers.executors.evaluate import evaluate

            return evaluate(context)
        case "predict":
            from workers.executors.predict import predict

            return predict(context)
        case "second_stage":
            from workers.executors.second_stage import second_stage

            return second_stage(context)
        case "check_data":
            from workers.executors.check_data import check_data

            return check_data(context)
        case unknown:
            assert_never(unknown)


def _after_failure(failure: Failed, folder: AttemptFolder) -> Outcome:
    """A passing failure of an attempt that was asked to stop is how the stop came out: Ray was interrupted."""
    return Stopped() if failure.reason.is_retryable and folder.stop.exists() else failure


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
