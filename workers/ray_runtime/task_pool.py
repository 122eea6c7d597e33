"""The pieces of a study as Ray tasks, as many side by side as the cluster holds."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray

from service.jobs.states import FailureReason
from service.jobs.study_results import RunFailure
from workers.attempt_logging import log_attempt
from workers.errors import AttemptStopped
from workers.memory_events import oom_kills
from workers.study.piece_queue import PieceQueue
from workers.study.pieces import Piece
from workers.study.run import run_failure, run_study_run
from workers.study.stage import train_stage
from workers.training.order import RunOrder, TrainingOrder

log = logging.getLogger(__name__)

POLL_S = 0.5

KILLED_FOR_MEMORY = (
    "the kernel ended the training because the worker's memory was used up: use fewer images per step, smaller scales,"
    " fewer trainings side by side (max_parallel), or a larger machine"
)


@dataclass(frozen=True)
class PieceEnd:
    """What a task answers."""

    stopped: bool = False
    failure: RunFailure | None = None


def work_off(
    queue: PieceQueue, *, wants_stop: Callable[[], bool], tick: Callable[[], None], given_up: Callable[[str], None]
) -> None:
    """Train the queue's pieces, in a process that is connected to Ray.

    When asked to stop, none is started any more, and those at work, which are asked by the same file, are awaited until
    they have left off. Whoever has no time to wait interrupts this process: Ray's tasks end with their driver.

    Args:
        queue: which piece is due.
        wants_stop: whether the attempt shall end; asked twice a second.
        tick: called as often, to tell how far things are.
        given_up: called with the name of each piece that has failed for good.

    Raises:
        AttemptStopped: it was asked to stop, and something was left to train.
    """
    train = ray.remote(_train)
    tasks: dict[Any, Piece] = {}
    kills = oom_kills() or 0
    while not queue.is_over:
        if not wants_stop():
            tasks |= {_start(train, piece): piece for piece in queue.start_due()}
        elif not tasks:
            raise AttemptStopped("the attempt was asked to stop")
        ended, _ = ray.wait(list(tasks), timeout=POLL_S)
        for task in ended:
            piece = tasks.pop(task)
            end = _end_of(task)
            if _is_lost(end) and (oom_kills() or 0) > kills:
                end = PieceEnd(failure=RunFailure(reason=FailureReason.OUT_OF_MEMORY, message=KILLED_FOR_MEMORY))
            kills = oom_kills() or 0
            if end.stopped:
                queue.stopped(piece.name)
                continue
            for name in queue.ended(piece.name, end.failure):
                given_up(name)
            if end.failure is not None and piece.name not in queue.failures:
                log.warning("%s is tried again: %s", piece.name, end.failure.message)
        tick()


def _start(train: Any, piece: Piece) -> Any:  # noqa: ANN401 - Ray's remote function, and reference
    order = piece.order
    # Of several workers each holds its own; the task that drives them must not take the room of one.
    alone = order.num_workers == 1
    room = {"num_cpus": order.cpus if alone else 0, "num_gpus": order.gpus if alone else 0}
    # A group of Ray Train reads its settings where it is driven from; a shared cluster's processes do not have ours.
    settings = {name: value for name, value in os.environ.items() if name.startswith("RAY_TRAIN_")}
    # What gives the CPUs of a lost driver's group back looks for the cluster, and finds none where several are.
    settings["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    runtime_env = None if alone else {"env_vars": settings}
    return train.options(name=piece.name, max_retries=0, runtime_env=runtime_env, **room).remote(order)


def _train(order: TrainingOrder) -> PieceEnd:
    """In a process of Ray's."""
    log_attempt(order.job_id, order.attempt, run=order.run_path.name)
    try:
        if isinstance(order, RunOrder):
            return PieceEnd(failure=run_study_run(order).failure)
        return PieceEnd(failure=train_stage(order))
    except AttemptStopped:
        return PieceEnd(stopped=True)


def _end_of(task: Any) -> PieceEnd:  # noqa: ANN401
    try:
        end = ray.get(task)
    except Exception as error:  # the task's process is gone: what it did not say, Ray does
        log.warning("a piece of the study ended with its process", exc_info=True)
        return PieceEnd(failure=run_failure(error))
    assert isinstance(end, PieceEnd)
    return end


def _is_lost(end: PieceEnd) -> bool:
    return end.failure is not None and end.failure.reason is FailureReason.LOST_WORKER
