"""The buttons of a job's page: each does what a route of the API does, and shows the job."""

from typing import Annotated

from fastapi import APIRouter, Form
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import RedirectResponse, Response

from service import operations
from service.api.dependencies import NO_PARAMETERS, DatasetsDep, JobId, ModelsDep, QueueDep, RegistryDep
from service.api.same_site import SAME_SITE
from service.errors import FieldProblem
from service.jobs.base_spec import Priority, refuse
from service.web.form_fields import Refused, read_overrides

router = APIRouter(prefix="/jobs/{job_id}", include_in_schema=False, dependencies=[NO_PARAMETERS, SAME_SITE])


class PriorityForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    priority: Priority


class CancelForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    force: bool = False


class CloneForm(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(default="", max_length=200)
    overrides: str = Field(default="", max_length=100_000)
    """path = value, one a line"""


@router.post("/cancel")
def cancel(job_id: JobId, form: Annotated[CancelForm, Form()], queue: QueueDep) -> Response:
    operations.cancel(queue, job_id, force=form.force)
    return _page_of(job_id)


@router.post("/pause")
def pause(job_id: JobId, queue: QueueDep) -> Response:
    operations.pause(queue, job_id)
    return _page_of(job_id)


@router.post("/resume")
def resume(job_id: JobId, queue: QueueDep) -> Response:
    operations.resume(queue, job_id)
    return _page_of(job_id)


@router.post("/retry")
def retry(job_id: JobId, queue: QueueDep) -> Response:
    operations.retry(queue, job_id)
    return _page_of(job_id)


@router.post("/priority")
def set_priority(job_id: JobId, form: Annotated[PriorityForm, Form()], queue: QueueDep) -> Response:
    operations.set_priority(queue, job_id, form.priority)
    return _page_of(job_id)


@router.post("/clone")
def clone(
    job_id: JobId, form: Annotated[CloneForm, Form()], queue: QueueDep, datasets: DatasetsDep, models: ModelsDep
) -> Response:
    refused = Refused()
    overrides = read_overrides(form.overrides, refused)
    if refused:
        raise refuse(tuple(FieldProblem("overrides", said) for said in refused.by_field.get("overrides", ())))
    changes = ({"overrides": overrides} if overrides else {}) | (
        {"name": form.name.strip()} if form.name.strip() else {}
    )
    made = operations.clone(queue, job_id, changes, datasets, idempotency_key=None, models=models)
    return _page_of(made.job.job_id)


@router.post("/delete")
def delete(job_id: JobId, queue: QueueDep, registry: RegistryDep) -> Response:
    operations.delete(queue, registry, job_id)
    return RedirectResponse("/", status_code=303)


def _page_of(job_id: str) -> Response:
    return RedirectResponse(f"/jobs/{job_id}", status_code=303)
