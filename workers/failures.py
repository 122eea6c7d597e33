"""An exception as a failure that a client can read: a reason, and one sentence with the way out."""

import errno

from sdcn_core.errors import BadInput, SdcnError, TrainingDiverged
from service.errors import CheckpointsUnavailable
from service.jobs.states import FailureReason
from workers.attempt_folder import Failed
from workers.errors import (
    AttemptSuperseded,
    ClusterTooSmall,
    ClusterUnavailable,
    FolderHeld,
    OutOfMemory,
    TrainingProcessLost,
)

MESSAGE_LENGTH = 2000


def failure_of(error: BaseException) -> Failed:
    """What to tell the client. The traceback is for the attempt's log, never in here."""
    return Failed(reason=_reason(error), message=_sentence(error)[:MESSAGE_LENGTH])


def _reason(error: BaseException) -> FailureReason:
    match error:
        case BadInput() | ClusterTooSmall():
            return FailureReason.BAD_INPUT
        case TrainingDiverged():
            return FailureReason.DIVERGED
        case OutOfMemory() | MemoryError():
            return FailureReason.OUT_OF_MEMORY
        case TrainingProcessLost():
            return FailureReason.LOST_WORKER
        case _:  # what is away or was cut off, and what nobody foresaw: another attempt may end better
            return FailureReason.INFRASTRUCTURE


def _sentence(error: BaseException) -> str:
    match error:
        case SdcnError() | ClusterTooSmall() | ClusterUnavailable():
            return str(error)
        case TrainingProcessLost() | OutOfMemory() | FolderHeld() | AttemptSuperseded():
            return str(error)
        case CheckpointsUnavailable():
            return error.detail
        case MemoryError():
            return (
                "the worker's memory does not suffice: use fewer images per step, smaller scales, or a larger machine"
            )
        case OSError(errno=errno.ENOSPC):
            return f"the disk is full{_of(error)}: free some space on the worker"
        case OSError():
            return f"{error.strerror or type(error).__name__}{_of(error)}: the worker's storage failed"
        case _:
            return (
                f"the attempt failed in a way nobody foresaw ({type(error).__name__}); its log on the worker says more"
            )


def _of(error: OSError) -> str:
    return f" ({error.filename})" if error.filename else ""
