"""What a client may do to a job: check it, submit it, cancel it, read its results. One transaction each."""

import hashlib
import json
from dataclasses import dataclass

import structlog
from pydantic import JsonValue

from service.errors import ResultsNotReady
from service.jobs.advice import warnings
from service.jobs.specs import JobSpec
from service.jobs.states import JobState
from service.queue.records import Job
from service.queue.repository import JobQueue

log = structlog.get_logger()


@dataclass(frozen=True)
class Submission:
    job: Job
    created: bool
    """False: the Idempotency-Key was known, this is the job it made"""


def check(spec: JobSpec) -> tuple[JobSpec, tuple[str, ...]]:
    """The resolved spec and what it may be warned about; the same way that submit goes.

    Raises:
        InvalidSpec: the spec contradicts itself.
    """
    resolved = spec.resolve()
    return resolved, warnings(resolved)


def submit(queue: JobQueue, spec: JobSpec, *, idempotency_key: str | None) -> Submission:
    """Queue the job; on return it is durable.

    Raises:
        InvalidSpec: the spec contradicts itself.
        IdempotencyKeyReused: the key came with another body before.
    """
    resolved, _ = check(spec)
    job, created = queue.enqueue(resolved, idempotency_key=idempotency_key, body_digest=_digest(spec))
    log.info("job.submitted" if created else "job.replayed", job_id=job.job_id, kind=job.kind, name=job.name)
    return Submission(job, created)


def cancel(queue: JobQueue, job_id: str) -> Job:
    """Ask for the job's end.

    Raises:
        JobNotFound: there is none.
        JobAlreadyEnded: it succeeded or failed.
    """
    job = queue.request_cancel(job_id)
    log.info("job.cancel_requested", job_id=job_id, state=job.state)
    return job


def results(queue: JobQueue, job_id: str) -> dict[str, JsonValue]:
    """What a job that succeeded found.

    Raises:
        JobNotFound: there is none.
        ResultsNotReady: it has not succeeded; the message says where it is and what to do.
    """
    job = queue.get(job_id)
    if job.results is not None:
        return job.results
    if job.state is JobState.FAILED and job.failure is not None:
        way_out = f"it failed ({job.failure.reason}): {job.failure.message}"
    elif job.state is JobState.CANCELLED:
        way_out = "it was cancelled; submit it again for results"
    else:
        way_out = f"it is {job.state}; ask again when GET /v1/jobs/{job_id} says succeeded"
    raise ResultsNotReady(f"job {job_id} has no results: {way_out}")


def _digest(spec: JobSpec) -> str:
    """Equal for bodies that ask for the same, whatever their spacing, order, and defaults written out."""
    canonical = json.dumps(spec.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
