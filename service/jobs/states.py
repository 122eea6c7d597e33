"""Where a job can be, where it can go from there, and why it failed. docs/job-states.md draws this table."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class JobState(StrEnum):
    QUEUED = "queued"
    """waits for its first claim"""
    CLAIMED = "claimed"
    """a worker holds the lease and prepares the attempt"""
    RUNNING = "running"
    """the attempt's child process is at work"""
    STOPPING = "stopping"
    """the child was asked to stop and has not ended yet"""
    RETRY_WAIT = "retry_wait"
    """an attempt ended for a passing reason; waits for the next one"""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job stays here for ever."""
        return not TRANSITIONS[self]

    @property
    def is_waiting(self) -> bool:
        """Whether no worker has it: it may be claimed, and cancelled at once."""
        return self in WAITING

    @property
    def is_leased(self) -> bool:
        """Whether a worker holds a lease on it."""
        return self in LEASED


_ENDS = frozenset({JobState.FAILED, JobState.CANCELLED})

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        JobState.QUEUED: frozenset({JobState.CLAIMED, JobState.CANCELLED}),
        JobState.CLAIMED: _ENDS | {JobState.RUNNING, JobState.STOPPING, JobState.RETRY_WAIT},
        JobState.RUNNING: _ENDS | {JobState.STOPPING, JobState.SUCCEEDED, JobState.RETRY_WAIT},
        JobState.STOPPING: _ENDS | {JobState.SUCCEEDED, JobState.RETRY_WAIT},
        JobState.RETRY_WAIT: frozenset({JobState.CLAIMED, JobState.CANCELLED}),
        JobState.SUCCEEDED: frozenset(),
        JobState.FAILED: frozenset(),
        JobState.CANCELLED: frozenset(),
    }
)
"""The one table of allowed moves; whoever changes a state asks it first."""

WAITING = frozenset({JobState.QUEUED, JobState.RETRY_WAIT})
LEASED = frozenset({JobState.CLAIMED, JobState.RUNNING, JobState.STOPPING})


class Desired(StrEnum):
    """What the client wants, apart from what is: written by the API, read by the lease holder at each heartbeat."""

    RUN = "run"
    CANCEL = "cancel"


class DatasetState(StrEnum):
    """Whether a registered data set can be used. It follows from the job that checks it and is stored nowhere."""

    CHECKING = "checking"
    """the job has not ended"""
    READY = "ready"
    """it read everything, and found nothing wrong"""
    REFUSED = "refused"
    """something is wrong; `problems` say what"""
    UNCHECKED = "unchecked"
    """the job was cancelled, or failed for a reason that says nothing of the data"""


class RunNow(StrEnum):
    """Where one training of a study is."""

    WAITING = "waiting"
    """for its turn, or for the job's next attempt"""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    STOPPED_EARLY = "stopped_early"
    """its metric was among the worst of its rung, so its CPUs went to others"""
    FAILED = "failed"
    UNFINISHED = "unfinished"
    """the job ended before the run did"""


class FailureReason(StrEnum):
    BAD_INPUT = "bad_input"
    """the spec or its data cannot be used; trying again will not help"""
    DIVERGED = "diverged"
    """a loss is no longer finite"""
    OUT_OF_MEMORY = "out_of_memory"
    """the attempt was killed for memory; the same would happen again"""
    LOST_WORKER = "lost_worker"
    """the worker or its child vanished"""
    INFRASTRUCTURE = "infrastructure"
    """Ray, the disk or the network failed, not the experiment"""
    DEADLINE = "deadline"
    """a part of the run took longer than it may"""
    USER = "user"
    """somebody asked for the end"""

    @property
    def is_retryable(self) -> bool:
        """Whether another attempt may end better."""
        return self in {FailureReason.LOST_WORKER, FailureReason.INFRASTRUCTURE}
