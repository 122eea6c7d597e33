"""What the queue hands out and takes in: plain frozen data, no rows and no sessions."""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal, Self

from pydantic import JsonValue, ValidationError

from service.errors import InvalidSpec
from service.jobs.budgets import Spent
from service.jobs.capacity import Capacity
from service.jobs.data_results import CheckDataResults
from service.jobs.data_specs import DatasetSpec
from service.jobs.progress import JobProgress
from service.jobs.specs import JobSpec
from service.jobs.states import DatasetState, Desired, FailureReason, JobState


@dataclass(frozen=True)
class Failure:
    reason: FailureReason
    message: str
    """a sentence for the client: what, where, and the way out"""


@dataclass(frozen=True)
class Attempt:
    """One claim of a job; times are aware UTC."""

    attempt: int
    worker_id: str
    pid: int | None
    started_at: datetime
    ended_at: datetime | None
    outcome: JobState | None
    exit_reason: FailureReason | None
    message: str | None
    resumed_from_step: int | None


@dataclass(frozen=True)
class JobEvent:
    """One change of a job's state, as the audit trail has it; `at` is aware UTC."""

    event_id: int
    """larger than that of every earlier event of the job"""
    job_id: str
    attempt: int
    from_state: JobState | None
    """None: the job was made"""
    to_state: JobState
    actor: str
    note: str | None
    at: datetime


@dataclass(frozen=True)
class JobNews:
    """What a look at a job shows to those who follow it."""

    attempt: int
    progress: JobProgress | None
    events: tuple[JobEvent, ...]
    """oldest first"""


@dataclass(frozen=True)
class Job:
    """A job as it is now; times are aware UTC."""

    job_id: str
    kind: str
    name: str | None
    spec: dict[str, JsonValue]
    """resolved, as it was stored; a Claim has it validated"""
    config_digest: str
    state: JobState
    desired: Desired
    priority: int
    attempt: int
    failed_attempts: int
    lost_attempts: int
    max_attempts: int
    max_lost_attempts: int
    available_at: datetime
    deadline_at: datetime | None
    progress: JobProgress | None
    results: dict[str, JsonValue] | None
    failure: Failure | None
    tracking_run_id: str | None
    cloned_from: str | None
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    attempts: tuple[Attempt, ...]
    """oldest first; empty where a list of jobs was asked for"""


@dataclass(frozen=True)
class Claim:
    """The right to run one attempt, until the lease runs out. Every write of the worker carries it."""

    job_id: str
    attempt: int
    """counts from 1"""
    lease_token: str
    spec: JobSpec
    created_at: datetime
    tracking_run_id: str | None
    """set where an earlier attempt has begun an MLflow run"""
    worker_id: str
    spent: Spent
    """what earlier attempts have used up"""


@dataclass(frozen=True)
class Pulse:
    """What a worker hears when it prolongs its lease."""

    desired: Desired
    state: JobState
    overdue: bool
    """whether the job should have left this state"""


@dataclass(frozen=True)
class Settlement:
    """How an attempt ended, as its worker says; the queue decides whether a retry is left."""

    state: JobState
    """succeeded, failed, cancelled, paused, or retry_wait for "again, please" """
    reason: FailureReason | None = None
    message: str | None = None
    results: dict[str, JsonValue] | None = None
    counted: bool = True
    """whether a retry is charged to one of the job's budgets"""

    @classmethod
    def succeeded(cls, results: dict[str, JsonValue]) -> Self:
        return cls(JobState.SUCCEEDED, results=results)

    @classmethod
    def failed(cls, reason: FailureReason, message: str) -> Self:
        """The job failed for good, whatever attempts are left."""
        return cls(JobState.FAILED, reason, message)

    @classmethod
    def cancelled(cls, message: str = "cancelled on request") -> Self:
        """The client's wish was fulfilled and everything the attempt held is free again."""
        return cls(JobState.CANCELLED, FailureReason.USER, message)

    @classmethod
    def retry(cls, reason: FailureReason, message: str) -> Self:
        """The attempt failed for a passing reason: the job waits and is claimed again, or fails when none is left.

        Raises:
            ValueError: the reason is not a passing one.
        """
        if not reason.is_retryable:
            raise ValueError(f"{reason} is not retryable: settle the job as failed")
        return cls(JobState.RETRY_WAIT, reason, message)

    @classmethod
    def paused(cls) -> Self:
        """The client's wish was fulfilled: the job has a checkpoint where it could, and what it held is free again."""
        return cls(JobState.PAUSED, FailureReason.USER, "paused on request", counted=False)

    @classmethod
    def released(cls, message: str) -> Self:
        """The worker gives the job back unharmed, as it is shut down: due again at once, and at no cost of attempts."""
        return cls(JobState.RETRY_WAIT, FailureReason.INFRASTRUCTURE, message, counted=False)


@dataclass(frozen=True)
class Cursor:
    """A place in the list of jobs, newest first: the last job that was seen."""

    created_at_ms: int
    job_id: str


@dataclass(frozen=True)
class JobPage:
    jobs: tuple[Job, ...]
    following: Cursor | None
    """where the next page begins; None: this was the last"""


@dataclass(frozen=True)
class Dataset:
    """A registered data set with the newest job that checks it. Whether it can be used follows from that job."""

    name: str
    source: dict[str, JsonValue]
    """as it was stored"""
    check: Job
    created_at: datetime

    def spec(self) -> DatasetSpec:
        """As it was registered.

        Raises:
            InvalidSpec: this version cannot read it.
        """
        try:
            return DatasetSpec.model_validate({"name": self.name, "source": self.source})
        except ValidationError:
            raise InvalidSpec(
                f"the source of data set {self.name!r} was written by another version of the service: remove it"
                f" (DELETE /v1/datasets/{self.name}) and register it again"
            ) from None

    @cached_property
    def found(self) -> CheckDataResults | None:
        """What the check has found; None: it has not succeeded, or another version wrote it."""
        try:
            return None if self.check.results is None else CheckDataResults.model_validate(self.check.results)
        except ValidationError:
            return None

    @property
    def state(self) -> DatasetState:
        if not self.check.state.is_terminal:
            return DatasetState.CHECKING
        if self.found is not None:
            return DatasetState.REFUSED if self.found.problems else DatasetState.READY
        failure = self.check.failure
        said_of_data = failure is not None and failure.reason is FailureReason.BAD_INPUT
        return DatasetState.REFUSED if said_of_data else DatasetState.UNCHECKED

    @property
    def problems(self) -> tuple[str, ...]:
        """Why it is refused or unchecked, each a sentence with the way out; empty while it is neither."""
        match self.state:
            case DatasetState.CHECKING | DatasetState.READY:
                return ()
            case DatasetState.REFUSED if self.found is not None:
                return self.found.problems
            case DatasetState.REFUSED | DatasetState.UNCHECKED:
                failure = self.check.failure
                why = "another version of the service wrote what it found" if failure is None else failure.message
                return (
                    f"the check {self.check.state}: {why}; check it again with POST /v1/datasets/{self.name}/check",
                )


@dataclass(frozen=True)
class DatasetPage:
    datasets: tuple[Dataset, ...]
    following: str | None
    """the last name, behind which the next page begins; None: this was the last"""


@dataclass(frozen=True)
class Worker:
    """A worker that lives; times are aware UTC."""

    worker_id: str
    started_at: datetime
    seen_at: datetime
    capacity: Capacity | None
    """None: its cluster has not answered yet"""


@dataclass(frozen=True)
class WaitingOn:
    """One thing that a job waits for."""

    kind: Literal["turn", "worker", "resources", "back_off", "dependency", "pause", "quota"]
    detail: str
    """a sentence for the client"""


@dataclass(frozen=True)
class QueuePlace:
    """Where a job stands among those that wait."""

    position: int | None
    """1: the next to be claimed, as things stand; None: it is not to be claimed yet"""
    waiting_on: tuple[WaitingOn, ...]
    """empty: a worker will have it at its next look into the queue"""


@dataclass(frozen=True)
class QueueHealth:
    counts: dict[JobState, int]
    oldest_waiting_s: float | None
    """how long the oldest job that could be claimed has been waiting; None: none waits"""
