"""What can be done to a job that is there."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from service import operations
from service.api.dependencies import (
    NO_PARAMETERS,
    DatasetsDep,
    IdempotencyKey,
    JobId,
    ModelsDep,
    Parameters,
    QueueDep,
    RegistryDep,
    SettingsDep,
)
from service.api.documentation import problems
from service.api.same_site import SAME_SITE
from service.api.schemas import describe
from service.api.strict_json import StrictJsonRoute
from service.jobs.answers import JobRead
from service.jobs.changes import CloneSpec, JobChanges

router = APIRouter(prefix="/v1/jobs/{job_id}", tags=["jobs"], route_class=StrictJsonRoute)

ELSEWHERE, UNKNOWN = "another site sent it", "no such job"


class CancelParameters(Parameters):
    force: bool = False
    """kill its processes at once, without a last checkpoint"""


@router.post(
    "/cancel",
    status_code=202,
    dependencies=[SAME_SITE],
    responses=problems(
        _403=ELSEWHERE, _404=UNKNOWN, _409="the job succeeded or failed", _422="a parameter is not valid"
    ),
)
def cancel_job(
    job_id: JobId, parameters: Annotated[CancelParameters, Query()], queue: QueueDep, settings: SettingsDep
) -> JobRead:
    """Ask for a job's end: at once while it waits, else after a last checkpoint. Asking again changes nothing; with
    `force` what was asked before becomes a kill.
    """
    return describe(operations.cancel(queue, job_id, force=parameters.force), queue, settings)


@router.post(
    "/pause",
    status_code=202,
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(_403=ELSEWHERE, _404=UNKNOWN, _409="the job has ended, or is being cancelled"),
)
def pause_job(job_id: JobId, queue: QueueDep, settings: SettingsDep) -> JobRead:
    """Ask for a job to wait: at once where no worker has it, else after a checkpoint. What it held is then free for
    others. Asking again changes nothing.
    """
    return describe(operations.pause(queue, job_id), queue, settings)


@router.post(
    "/resume",
    status_code=202,
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(_403=ELSEWHERE, _404=UNKNOWN, _409="the job has ended, or is being cancelled"),
)
def resume_job(job_id: JobId, queue: QueueDep, settings: SettingsDep) -> JobRead:
    """Take a pause back: the job waits for a worker again and goes on from its last checkpoint."""
    return describe(operations.resume(queue, job_id), queue, settings)


@router.post(
    "/retry",
    status_code=202,
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(
        _403=ELSEWHERE, _404=UNKNOWN, _409="the job has not failed and was not cancelled, or would end as it did"
    ),
)
def retry_job(job_id: JobId, queue: QueueDep, settings: SettingsDep) -> JobRead:
    """Try a job again that failed or was cancelled: the same job, from its last checkpoint, with its budgets whole."""
    return describe(operations.retry(queue, job_id), queue, settings)


@router.post(
    "/clone",
    status_code=202,
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(
        _400="the body is no JSON",
        _403=ELSEWHERE,
        _404=UNKNOWN,
        _413="the body is too large",
        _422="with the changes it is no valid job",
    ),
)
def clone_job(
    job_id: JobId,
    asked: CloneSpec,
    key: IdempotencyKey,
    queue: QueueDep,
    datasets: DatasetsDep,
    models: ModelsDep,
    settings: SettingsDep,
    response: Response,
) -> JobRead:
    """Queue a new job like this one, with some fields changed. Nothing is taken over of what it has trained."""
    made = operations.clone(queue, job_id, asked.changes, datasets, idempotency_key=key, models=models)
    response.headers["Location"] = f"/v1/jobs/{made.job.job_id}"
    if not made.created:
        response.headers["Idempotency-Replayed"] = "true"
    return describe(made.job, queue, settings)


@router.patch(
    "",
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(
        _400="the body is no JSON",
        _403=ELSEWHERE,
        _404=UNKNOWN,
        _409="the job does not wait any more",
        _413="the body is too large",
        _422="the priority is not valid",
    ),
)
def change_job(job_id: JobId, changes: JobChanges, queue: QueueDep, settings: SettingsDep) -> JobRead:
    """Change the priority of a job that waits."""
    return describe(operations.set_priority(queue, job_id, changes.priority), queue, settings)


@router.delete(
    "",
    status_code=204,
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(_403=ELSEWHERE, _404=UNKNOWN, _409="the job has not ended, or something needs it"),
)
def delete_job(job_id: JobId, queue: QueueDep, registry: RegistryDep) -> None:
    """Forget a job that has ended. Its files and its runs in MLflow are removed by a worker, soon."""
    operations.delete(queue, registry, job_id)
