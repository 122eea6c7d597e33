"""Ray's errors as ours: the error that a training process raised, wherever Ray has wrapped it, or what became of it."""

from collections.abc import Iterator

import torch
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, WorkerCrashedError

from sdcn_core.errors import SdcnError
from service.errors import CheckpointsUnavailable
from workers.errors import ClusterUnavailable, OutOfMemory, TrainingProcessLost, WorkerError

_WRAPPERS = ("controller_failure", "health_check_failure", "cause", "__cause__")


def translated(error: BaseException) -> BaseException:
    """The most telling error behind one of Ray's.

    When a rank fails, the others fail because it is gone: what a rank raised on purpose is told before what memory
    refused, that before a lost process, and anything else last.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, SdcnError | WorkerError | CheckpointsUnavailable):
            return cause
    for cause in causes:
        if isinstance(cause, MemoryError | torch.OutOfMemoryError | OutOfMemoryError) or _cpu_memory_refused(cause):
            return OutOfMemory(
                "a training process ran out of memory: use fewer images per step, smaller scales, fewer sampled"
                " proposals, or a larger machine"
            )
    for cause in causes:
        if isinstance(cause, RayActorError | WorkerCrashedError):
            return TrainingProcessLost("a training process ended unexpectedly: it was killed, or it crashed")
    for cause in causes:
        if type(cause).__name__.startswith("WorkerGroupStartup"):
            return ClusterUnavailable(
                "Ray could not start the training processes in time: the cluster is busy or broken"
            )
    innermost = causes[-1]
    if isinstance(innermost, RayError):
        return ClusterUnavailable(f"Ray failed ({type(innermost).__name__}); the attempt's log on the worker says more")
    return innermost


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it wraps, outermost first, each once."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        waiting += [inner for name in _WRAPPERS if isinstance(inner := getattr(current, name, None), BaseException)]
        waiting += [
            inner for inner in getattr(current, "worker_failures", {}).values() if isinstance(inner, BaseException)
        ]


def _cpu_memory_refused(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
