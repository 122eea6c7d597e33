"""Records of the queue as answers."""

from pathlib import Path

from service.jobs.answers import (
    AttemptRead,
    FailureRead,
    JobLinks,
    JobRead,
    JobSummary,
    QueueRead,
    TrackingRead,
    WaitingOnRead,
)
from service.jobs.study_results import RunFailure
from service.jobs.ways_out import WAYS_OUT
from service.queue.records import Attempt, Failure, Job, QueuePlace
from service.queue.repository import JobQueue
from service.settings import ServiceSettings

MAX_ARTIFACTS = 200


def summarize(job: Job, settings: ServiceSettings) -> JobSummary:
    path = f"/v1/jobs/{job.job_id}"
    return JobSummary(
        id=job.job_id,
        kind=job.kind,
        name=job.name,
        state=job.state,
        desired=job.desired,
        priority=job.priority,
        attempt=job.attempt,
        failed_attempts=job.failed_attempts,
        max_attempts=job.max_attempts,
        lost_attempts=job.lost_attempts,
        max_lost_attempts=job.max_lost_attempts,
        progress=job.progress,
        failure=describe_failure(job.failure),
        config_digest=job.config_digest,
        mlflow=_tracking(job.tracking_run_id, settings.tracking_url),
        created_at=job.created_at,
        updated_at=job.updated_at,
        available_at=job.available_at,
        deadline_at=job.deadline_at,
        cloned_from=job.cloned_from,
        started_at=job.started_at,
        ended_at=job.ended_at,
        links=JobLinks(self=path, results=f"{path}/results", cancel=f"{path}/cancel"),
    )


def describe(job: Job, queue: JobQueue, settings: ServiceSettings) -> JobRead:
    """A job, whole; looks into its folder for the files it has left, and into the queue for its place."""
    place = queue.place(job.job_id) if job.state.is_waiting else None
    return JobRead(
        **dict(summarize(job, settings)),
        queue=None if place is None else _queue(place),
        spec=job.spec,
        attempts=tuple(_attempt(attempt) for attempt in job.attempts),
        artifacts=_artifacts(settings.home, settings.runs / job.job_id / "artifacts"),
    )


def _attempt(attempt: Attempt) -> AttemptRead:
    return AttemptRead(
        attempt=attempt.attempt,
        worker_id=attempt.worker_id,
        pid=attempt.pid,
        started_at=attempt.started_at,
        ended_at=attempt.ended_at,
        outcome=attempt.outcome,
        failure=describe_failure(Failure(attempt.exit_reason, attempt.message or "")) if attempt.exit_reason else None,
        resumed_from_step=attempt.resumed_from_step,
    )


def _queue(place: QueuePlace) -> QueueRead:
    return QueueRead(
        position=place.position,
        waiting_on=tuple(WaitingOnRead(kind=one.kind, detail=one.detail) for one in place.waiting_on),
    )


def describe_failure(failure: Failure | RunFailure | None) -> FailureRead | None:
    if failure is None:
        return None
    return FailureRead(reason=failure.reason, message=failure.message, way_out=WAYS_OUT[failure.reason])


def _tracking(run_id: str | None, tracking_url: str | None) -> TrackingRead | None:
    if run_id is None:
        return None
    base = None if tracking_url is None else tracking_url.rstrip("/")
    # MLflow's page finds the experiment by itself; without the last part it may show a page for language models.
    return TrackingRead(run_id=run_id, url=base and f"{base}/#/runs/{run_id}?workflowType=machine_learning")


def _artifacts(home: Path, folder: Path) -> tuple[str, ...]:
    try:
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError:  # none yet, or the run's files lie on another machine
        return ()
    return tuple(str((folder / name).relative_to(home)) for name in names[:MAX_ARTIFACTS])
