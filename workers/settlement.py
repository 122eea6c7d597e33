"""How an attempt ended, from what it said and what was seen: the one place where an exit becomes a verdict."""

import signal
from collections.abc import Collection
from enum import Enum, auto
from typing import assert_never

from service.jobs.states import FailureReason
from service.queue.records import Settlement
from workers.attempt_folder import OUTCOME_UNWRITTEN, Failed, Outcome, Stopped, Succeeded
from workers.lease_watch import LEASE_OVER
from workers.ray_runtime.raylet_watch import RAY_LOST

OUT_OF_MEMORY = (
    "the kernel ended a process of the attempt because the worker's memory was used up: use fewer images per step,"
    " smaller scales, fewer workers, or a larger machine"
)

UNWRITTEN = (
    "the attempt came to its end, but how could not be written: the worker's disk is full or failed; free some space,"
    " and the next attempt goes on from the last checkpoint"
)


TOO_LONG = "it ran longer than its max_runtime_s: allow more, or train for fewer steps; its checkpoints are kept"
NEVER_BEGAN = "the training process was started and did not begin to work in the time it has for that"
RAY_GONE = "Ray ended under the attempt: its process on the worker's machine was killed, or its head started anew"
STOOD_STILL = "the worker stood still for longer than its lease, and the attempt ended by itself"


class StopCause(Enum):
    """Why a child was asked to stop."""

    CANCEL = auto()
    """the client wants the end"""
    PAUSE = auto()
    """the client wants it to wait"""
    SHUTDOWN = auto()
    """the worker is going down"""
    TOO_LONG = auto()
    """it ran longer than the job may"""
    NEVER_BEGAN = auto()
    """it was not at work when it had to be"""


def settlement_of(
    outcome: Outcome | None,
    *,
    exit_status: int,
    causes: Collection[StopCause],
    memory_kills: int,
    ray_is_lost: bool = False,
) -> Settlement:
    """The verdict on an attempt whose processes are all gone.

    Args:
        outcome: what the child said; None if it died without a word.
        exit_status: of the child; negative: the signal that ended it.
        causes: why it was asked to stop, if it was.
        ray_is_lost: whether the shared cluster that it used is gone.
        memory_kills: processes that the kernel killed for memory while it ran; 0 of an attempt that goes on after one.
    """
    match outcome:
        case Succeeded():
            return Settlement.succeeded(outcome.results)  # a cancel that came too late changes nothing
        case Failed() if not outcome.reason.is_retryable:
            return Settlement.failed(outcome.reason, outcome.message)
    if StopCause.CANCEL in causes:
        return Settlement.cancelled()
    if StopCause.TOO_LONG in causes:
        return Settlement.failed(FailureReason.DEADLINE, TOO_LONG)
    if StopCause.PAUSE in causes:
        return Settlement.paused()
    if StopCause.SHUTDOWN in causes:
        return Settlement.released("the worker was shut down; the job goes on elsewhere")
    if StopCause.NEVER_BEGAN in causes:
        return Settlement.retry(FailureReason.INFRASTRUCTURE, NEVER_BEGAN)
    if memory_kills > 0:
        return Settlement.failed(FailureReason.OUT_OF_MEMORY, OUT_OF_MEMORY)
    match outcome:
        case Failed():
            return Settlement.retry(outcome.reason, outcome.message)
        case Stopped():
            return Settlement.retry(FailureReason.INFRASTRUCTURE, "the attempt was stopped from outside the service")
        case None if exit_status == OUTCOME_UNWRITTEN:
            return Settlement.retry(FailureReason.INFRASTRUCTURE, UNWRITTEN)
        case None if exit_status == LEASE_OVER:
            return Settlement.retry(FailureReason.LOST_WORKER, STOOD_STILL)
        case None if exit_status == RAY_LOST or (ray_is_lost and exit_status > 0):
            return Settlement.retry(FailureReason.INFRASTRUCTURE, RAY_GONE)
        case None:
            return Settlement.retry(FailureReason.CRASHED, f"the training process {ending_of(exit_status)}")
        case _:
            assert_never(outcome)


def ending_of(exit_status: int) -> str:
    """The exit status in words.

    >>> ending_of(-9)
    'was ended by signal 9 (SIGKILL)'
    >>> ending_of(1)
    'ended with exit status 1 and without an outcome'
    """
    if exit_status >= 0:
        return f"ended with exit status {exit_status} and without an outcome"
    try:
        name = signal.Signals(-exit_status).name
    except ValueError:
        return f"was ended by signal {-exit_status}"
    return f"was ended by signal {-exit_status} ({name})"
