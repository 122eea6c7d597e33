"""Rows as records: JSON validated into models, integer milliseconds as aware UTC times."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import overload

from service.jobs.progress import JobProgress
from service.jobs.states import Desired, FailureReason, JobState
from service.queue.records import Attempt, Dataset, Failure, Job, JobEvent
from service.queue.tables import AttemptRow, DatasetRow, JobEventRow, JobRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@overload
def to_time(milliseconds: int) -> datetime: ...
@overload
def to_time(milliseconds: None) -> None: ...
def to_time(milliseconds: int | None) -> datetime | None:
    """Milliseconds since 1970 as an aware UTC time.

    >>> to_time(1500).isoformat()
    '1970-01-01T00:00:01.500000+00:00'
    """
    return None if milliseconds is None else _EPOCH + timedelta(milliseconds=milliseconds)


def read_attempt(row: AttemptRow) -> Attempt:
    return Attempt(
        attempt=row.attempt,
        worker_id=row.worker_id,
        pid=row.pid,
        started_at=to_time(row.started_at),
        ended_at=to_time(row.ended_at),
        outcome=None if row.outcome is None else JobState(row.outcome),
        exit_reason=None if row.exit_reason is None else FailureReason(row.exit_reason),
        message=row.message,
        resumed_from_step=row.resumed_from_step,
    )


def read_event(row: JobEventRow) -> JobEvent:
    return JobEvent(
        event_id=row.id,
        job_id=row.job_id,
        attempt=row.attempt,
        from_state=None if row.from_state is None else JobState(row.from_state),
        to_state=JobState(row.to_state),
        actor=row.actor,
        note=row.note,
        at=to_time(row.at),
    )


def read_job(row: JobRow, attempts: Sequence[AttemptRow]) -> Job:
    failure = None
    if row.failure_reason is not None:
        failure = Failure(FailureReason(row.failure_reason), row.failure_message or "")
    return Job(
        job_id=row.id,
        kind=row.kind,
        name=row.name,
        spec=row.spec,
        config_digest=row.config_digest,
        state=JobState(row.state),
        desired=Desired(row.desired),
        priority=row.priority,
        attempt=row.attempt,
        failed_attempts=row.failed_attempts,
        lost_attempts=row.lost_attempts,
        max_attempts=row.max_attempts,
        max_lost_attempts=row.max_lost_attempts,
        available_at=to_time(row.available_at),
        deadline_at=to_time(row.deadline_at),
        progress=None if row.progress is None else JobProgress.model_validate(row.progress),
        results=row.results,
        failure=failure,
        tracking_run_id=row.tracking_run_id,
        cloned_from=row.cloned_from,
        created_at=to_time(row.created_at),
        updated_at=to_time(row.updated_at),
        started_at=to_time(row.started_at),
        ended_at=to_time(row.ended_at),
        attempts=tuple(read_attempt(attempt) for attempt in attempts),
    )


def read_dataset(row: DatasetRow, check: JobRow) -> Dataset:
    return Dataset(name=row.name, source=row.source, check=read_job(check, ()), created_at=to_time(row.created_at))
