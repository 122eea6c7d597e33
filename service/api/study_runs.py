"""What a job is doing in detail: the runs of a study, and the metric series of a job or run."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from service.api.dependencies import NO_PARAMETERS, JobId, Parameters, QueueDep, SeriesDep, SettingsDep
from service.api.documentation import problems
from service.api.study_schemas import describe_run, describe_series
from service.jobs.answers import MetricsRead, RunList
from service.run_files.folders import job_files
from service.run_files.study_runs import study_runs

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])

RunName = Annotated[str, Field(min_length=1, max_length=80)]


class MetricParameters(Parameters):
    run: RunName | None = None
    """of a study; none: the job's own"""
    name: list[Annotated[str, Field(min_length=1, max_length=250)]] = Field(default_factory=list, max_length=100)
    """may be given several times; none: all"""


@router.get("/{job_id}/runs", dependencies=[NO_PARAMETERS], responses=problems(_404="no such job"))
def list_runs(job_id: JobId, queue: QueueDep, settings: SettingsDep) -> RunList:
    """The trainings of a study as they are now; empty for other jobs."""
    found = study_runs(queue.get(job_id), settings.runs)
    return RunList(runs=tuple(map(describe_run, found)))


@router.get("/{job_id}/metrics", responses=problems(_404="no such job or run", _422="a parameter is not valid"))
def get_metrics(
    job_id: JobId,
    parameters: Annotated[MetricParameters, Query()],
    queue: QueueDep,
    settings: SettingsDep,
    series: SeriesDep,
) -> MetricsRead:
    """Losses, rates, times and whatever else was measured, over the optimizer's steps, while it is measured. Cheap to
    ask again and again.
    """
    queue.get(job_id)
    found = series.read(job_files(settings.runs, job_id, parameters.run), parameters.name)
    return MetricsRead(
        series={name: describe_series(points) for name, points in found.series.items()}, complete=found.complete
    )
