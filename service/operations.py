"""What a client may do to a job that is there: end, pause, try again, copy, delete it. One transaction each."""

from collections.abc import Mapping

import structlog
from pydantic import JsonValue, ValidationError

from service.errors import JobNeeded
from service.jobs.base_spec import refuse, refused
from service.jobs.refusals import field_problems
from service.jobs.specs import JOB_SPEC
from service.models import ModelCatalogue
from service.queue.datasets import DatasetRegister
from service.queue.records import Job
from service.queue.repository import JobQueue
from service.registry import ModelRegistry
from service.submission import Submission, submit

log = structlog.get_logger()

MERGED = ("overrides", "resources")
"""fields of which a clone changes single entries"""


def cancel(queue: JobQueue, job_id: str, *, force: bool = False) -> Job:
    """Ask for the job's end.

    Raises:
        JobNotFound: there is none.
        JobAlreadyEnded: it succeeded or failed.
    """
    return _told("job.cancel_requested", queue.request_cancel(job_id, force=force))


def pause(queue: JobQueue, job_id: str) -> Job:
    """Ask for the job to wait.

    Raises:
        JobNotFound: there is none.
        JobAlreadyEnded: it has ended.
        JobBusy: its end was asked for.
    """
    return _told("job.pause_requested", queue.request_pause(job_id))


def resume(queue: JobQueue, job_id: str) -> Job:
    """Let it go on.

    Raises:
        JobNotFound: there is none.
        JobAlreadyEnded: it has ended.
        JobBusy: its end was asked for.
    """
    return _told("job.resumed", queue.resume(job_id))


def retry(queue: JobQueue, job_id: str) -> Job:
    """Have a job that failed or was cancelled tried again, from its last checkpoint.

    Raises:
        JobNotFound: there is none.
        JobAlreadyEnded: it succeeded, or is a study whose runs have ended for good.
        JobBusy: it has not ended, or a job that it waits for must be tried again first.
        SpecUnreadable: another version stored what it is to do.
    """
    return _told("job.retried", queue.retry(job_id))


def set_priority(queue: JobQueue, job_id: str, priority: int) -> Job:
    """Let a waiting job be claimed earlier or later.

    Raises:
        JobNotFound: there is none.
        JobAlreadyEnded: it has ended.
        JobBusy: a worker has it.
    """
    return _told("job.priority_set", queue.set_priority(job_id, priority))


def clone(
    queue: JobQueue,
    job_id: str,
    changes: Mapping[str, JsonValue],
    datasets: DatasetRegister,
    *,
    idempotency_key: str | None,
    models: ModelCatalogue | None = None,
) -> Submission:
    """Queue a new job like one that is there, with some fields changed. `datasets` and `models` as for `submit`.

    Raises:
        JobNotFound: there is none.
        InvalidSpec: with the changes it is no valid job.
        IdempotencyKeyReused: the key came with another body before.
    """
    source = queue.get(job_id)
    if changes.get("kind", source.kind) != source.kind:
        raise refused("changes.kind", f"a clone is of the same kind, {source.kind}: submit a job of its own")
    asked = source.spec | dict(changes)
    for name in MERGED:
        old, new = source.spec.get(name), changes.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            asked[name] = old | new
    try:
        spec = JOB_SPEC.validate_python(asked)
    except ValidationError as error:
        raise refuse(field_problems(error.errors())) from None
    return submit(queue, spec, datasets, idempotency_key=idempotency_key, models=models, cloned_from=job_id)


def delete(queue: JobQueue, registry: ModelRegistry, job_id: str) -> None:
    """Forget a job that has ended; its files and its runs in MLflow are removed soon after.

    Raises:
        JobNotFound: there is none.
        JobBusy: it has not ended.
        JobNeeded: a data set, another job or MLflow's registry needs it.
    """
    queue.get(job_id)
    registered = registry.look()
    for model_id, version in () if registered is None else registered.versions.items():
        if version.champion and model_id.partition("/")[0] == job_id:
            raise JobNeeded(
                f"model {model_id} is the champion of {version.name!r} in MLflow: give that alias to another version"
            )
    queue.delete(job_id)
    log.info("job.deleted", job_id=job_id)


def _told(event: str, job: Job) -> Job:
    log.info(event, job_id=job.job_id, state=job.state)
    return job
