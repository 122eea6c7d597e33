"""Where a job can be, where it can go from there, and why it failed. docs/job-states.md draws this table."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class JobState(StrEnum):
    BLOCKED = "blocked"
    """waits for other jobs to succeed"""
    QUEUED = "queued"
    """waits for a claim"""
    CLAIMED = "claimed"
    """a worker holds the lease and prepares the attempt"""
    STARTING = "starting"
    """the attempt's child process was started and has said nothing yet"""
    RUNNING = "running"
    """the attempt's child process is at work"""
    STOPPING = "stopping"
    """the child was asked to stop and has not ended yet"""
    PAUSED = "paused"
    """the client wants it to wait; what it held is free, and it goes on from its last checkpoint"""
    RETRY_WAIT = "retry_wait"
    """an attempt ended for a passing reason; waits for the next one"""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether the job stays here unless a client asks for it to be tried again."""
        return self in TERMINAL

    @property
    def is_waiting(self) -> bool:
        """Whether no worker has it and it has not ended: what a client wants of it happens at once."""
        return self in WAITING

    @property
    def is_leased(self) -> bool:
        """Whether a worker holds a lease on it."""
        return self in LEASED


TERMINAL = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
CLAIMABLE = frozenset({JobState.QUEUED, JobState.RETRY_WAIT})
"""where a worker may claim it, once it is due"""
WAITING = CLAIMABLE | {JobState.BLOCKED, JobState.PAUSED}
LEASED = frozenset({JobState.CLAIMED, JobState.STARTING, JobState.RUNNING, JobState.STOPPING})

NEW = frozenset({JobState.QUEUED, JobState.BLOCKED})
"""where a job begins, and begins again"""
_GIVEN_UP = frozenset({JobState.RETRY_WAIT, JobState.PAUSED, JobState.FAILED, JobState.CANCELLED})
"""where any attempt may leave the job"""

TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        JobState.BLOCKED: frozenset({JobState.QUEUED, JobState.PAUSED, JobState.CANCELLED}),
        JobState.QUEUED: frozenset({JobState.CLAIMED, JobState.PAUSED, JobState.CANCELLED}),
        JobState.CLAIMED: _GIVEN_UP | {JobState.STARTING},
        JobState.STARTING: _GIVEN_UP | {JobState.RUNNING, JobState.STOPPING, JobState.SUCCEEDED},
        JobState.RUNNING: _GIVEN_UP | {JobState.STOPPING, JobState.SUCCEEDED},
        JobState.STOPPING: _GIVEN_UP | {JobState.SUCCEEDED},
        JobState.PAUSED: NEW | {JobState.CANCELLED},
        JobState.RETRY_WAIT: frozenset({JobState.CLAIMED, JobState.PAUSED, JobState.CANCELLED}),
        JobState.SUCCEEDED: frozenset(),
        JobState.FAILED: NEW,
        JobState.CANCELLED: NEW,
    }
)
"""The one table of allowed moves; whoever changes a state asks it first, and the database checks each move by it."""


class Desired(StrEnum):
    """What the client wants, apart from what is: written by the API, read by the lease holder at each heartbeat.

    In the order of severity, which only rises until the job is tried again; but a pause may be taken back.
    """

    RUN = "run"
    PAUSE = "pause"
    """stop after a checkpoint, free everything, and wait to be resumed"""
    CANCEL = "cancel"
    """stop after a checkpoint, for good"""
    KILL = "kill"
    """stop now, for good"""

    @property
    def severity(self) -> int:
        return tuple(Desired).index(self)

    @property
    def is_end(self) -> bool:
        """Whether the job shall end."""
        return self in ENDS


ENDS = frozenset({Desired.CANCEL, Desired.KILL})


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


class DeliveryState(StrEnum):
    """Where a message to a webhook is."""

    PENDING = "pending"
    """not delivered yet; it is tried, or tried again"""
    DELIVERED = "delivered"
    """the receiver has answered that it has it"""
    DEAD = "dead"
    """given up: tried as often as it may be, or the receiver is gone for good"""


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


class Budget(StrEnum):
    """What an attempt that failed is charged to; each job says how often each may be."""

    OWN = "own"
    """the job's own process failed: `max_attempts`"""
    INFRASTRUCTURE = "infrastructure"
    """what surrounds it did: `max_lost_attempts`"""


class FailureReason(StrEnum):
    BAD_INPUT = "bad_input"
    """the spec or its data cannot be used; trying again will not help"""
    DIVERGED = "diverged"
    """a loss is no longer finite"""
    OUT_OF_MEMORY = "out_of_memory"
    """the attempt was killed for memory; the same would happen again"""
    CRASHED = "crashed"
    """the attempt's own process ended without a word"""
    LOST_WORKER = "lost_worker"
    """the worker vanished, or a training process of the cluster did"""
    INFRASTRUCTURE = "infrastructure"
    """Ray, the disk or the network failed, not the experiment"""
    DEADLINE = "deadline"
    """it ran longer than it may"""
    DEPENDENCY = "dependency"
    """a job that it waits for did not succeed"""
    USER = "user"
    """somebody asked for the end"""

    @property
    def budget(self) -> Budget | None:
        """What another attempt after this one is charged to; None: another would not end better."""
        match self:
            case FailureReason.CRASHED:
                return Budget.OWN
            case FailureReason.LOST_WORKER | FailureReason.INFRASTRUCTURE:
                return Budget.INFRASTRUCTURE
            case _:
                return None

    @property
    def is_retryable(self) -> bool:
        """Whether another attempt may end better."""
        return self.budget is not None
