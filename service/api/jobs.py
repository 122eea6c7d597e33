"""The jobs of the service: submit, list, look, read results."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from service import submission
from service.api.cursors import read_cursor, write_cursor
from service.api.dependencies import (
    NO_PARAMETERS,
    DatasetsDep,
    IdempotencyKey,
    JobId,
    ModelsDep,
    Parameters,
    QueueDep,
    SettingsDep,
)
from service.api.documentation import problems
from service.api.same_site import SAME_SITE
from service.api.schemas import describe, summarize
from service.api.strict_json import StrictJsonRoute
from service.jobs.answers import JobList, JobRead, SpecRead
from service.jobs.any_results import AnyResults
from service.jobs.specs import JobSpec
from service.jobs.states import JobState

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=StrictJsonRoute)


class SubmitParameters(Parameters):
    validate_only: bool = False
    """answer with the resolved spec and queue nothing"""


class ListParameters(Parameters):
    state: list[JobState] = Field(default_factory=list, max_length=len(JobState))
    """may be given several times; none: all"""
    kind: Literal["train", "ablation", "sweep", "evaluate", "predict", "second_stage", "check_data"] | None = None
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, min_length=1, max_length=200)
    """next_cursor of the page before"""


@router.post(
    "",
    status_code=202,
    dependencies=[SAME_SITE],
    response_model=JobRead,
    responses={
        200: {"model": SpecRead, "description": "?validate_only=true: the spec is valid"},
        **problems(
            _400="the body is no JSON",
            _403="another site sent it",
            _413="the body is too large",
            _422="the job is not valid",
        ),
    },
)
def submit_job(
    spec: JobSpec,
    parameters: Annotated[SubmitParameters, Query()],
    key: IdempotencyKey,
    queue: QueueDep,
    datasets: DatasetsDep,
    models: ModelsDep,
    settings: SettingsDep,
    response: Response,
) -> Any:  # noqa: ANN401 - one of two models
    """Queue a job. The answer means that it is stored; a worker takes it from there."""
    if parameters.validate_only:
        checked = submission.check(spec, datasets, models, queue.workers())
        num_runs, run_names = submission.planned_runs(checked.spec)
        answer = SpecRead(
            spec=checked.spec,
            total_steps=checked.spec.total_steps,
            config_digest=checked.spec.config_digest,
            warnings=checked.warnings,
            runs=num_runs,
            run_names=run_names,
        )
        return Response(answer.model_dump_json(), media_type="application/json")
    submitted = submission.submit(queue, spec, datasets, idempotency_key=key, models=models)
    response.headers["Location"] = f"/v1/jobs/{submitted.job.job_id}"
    if not submitted.created:
        response.headers["Idempotency-Replayed"] = "true"
    return describe(submitted.job, queue, settings)


@router.get("", responses=problems(_400="the cursor is none of ours", _422="a parameter is not valid"))
def list_jobs(parameters: Annotated[ListParameters, Query()], queue: QueueDep, settings: SettingsDep) -> JobList:
    """Jobs, newest first, a page at a time."""
    after = None if parameters.cursor is None else read_cursor(parameters.cursor)
    page = queue.page(states=parameters.state, kind=parameters.kind, limit=parameters.limit, after=after)
    following = None if page.following is None else write_cursor(page.following)
    return JobList(jobs=tuple(summarize(job, settings) for job in page.jobs), next_cursor=following)


@router.get("/{job_id}", dependencies=[NO_PARAMETERS], responses=problems(_404="no such job"))
def get_job(job_id: JobId, queue: QueueDep, settings: SettingsDep) -> JobRead:
    """A job: where it is, how far, what its attempts did, where its run is in MLflow."""
    return describe(queue.get(job_id), queue, settings)


@router.get(
    "/{job_id}/results",
    dependencies=[NO_PARAMETERS],
    responses=problems(_404="no such job", _409="the job has not succeeded"),
)
def get_results(job_id: JobId, queue: QueueDep) -> AnyResults:
    """What a job that succeeded found, by its kind: AP and CorLoc per class beside the baselines, an ablation's rows, a
    sweep's trials, a judgement, or what a prediction left.
    """
    return submission.results(queue, job_id)
