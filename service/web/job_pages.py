"""A job's page, and of a study the page of each of its runs."""

import json
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from service.api.dependencies import NO_PARAMETERS, JobId, Parameters, QueueDep, SeriesDep, SettingsDep
from service.api.schemas import describe
from service.errors import RunNotFound
from service.jobs.answers import JobRead
from service.jobs.any_results import AnyResults
from service.jobs.data_results import CheckDataResults
from service.jobs.log_lines import readable
from service.jobs.results import TrainResults
from service.jobs.second_stage_results import SecondStageResults
from service.jobs.states import Desired, JobState, RunNow
from service.jobs.study_results import AblationResults, EvaluateResults, PredictResults, SweepResults
from service.jobs.ways_out import WAYS_OUT
from service.queue.records import Job
from service.queue.repository import JobQueue
from service.run_files.folders import RunFiles, job_files
from service.run_files.logs import log_tail
from service.run_files.series import SeriesReader
from service.run_files.study_runs import STUDIES, StudyRun, read_record, study_runs
from service.settings import ServiceSettings
from service.web import tables
from service.web.files import shown_files
from service.web.headlines import headline, metric_name, metric_value, read_results
from service.web.list_page import LIVE_MS
from service.web.pictures import pictures
from service.web.rendering import RenderDep
from service.web.sweep_charts import sweep_charts
from service.web.training_charts import Series, stage_sections, stage_steps, training_charts

router = APIRouter(include_in_schema=False)


class PageParameters(Parameters):
    refresh: int | None = Field(default=None, ge=5, le=3600)
    """seconds between reloads, for browsers without script"""


@dataclass(frozen=True)
class Stage:
    name: str
    place: str
    """done, current or ahead"""


@dataclass(frozen=True)
class LogTail:
    """The end of a log, readable."""

    attempt: int
    text: str


@dataclass(frozen=True)
class RunLine:
    """A run of a study as its pages name it."""

    run: StudyRun
    value: str

    @property
    def fraction(self) -> float:
        return self.run.last_word.latest.fraction if self.run.last_word else 0.0

    @property
    def whereabouts(self) -> str:
        if self.run.last_word is None:
            return ""
        said = self.run.last_word.latest
        return f"{said.stage} {said.step}/{said.stage_steps}" if said.stage_steps else said.stage

    @property
    def eta_s(self) -> float | None:
        return self.run.last_word.eta_s if self.run.last_word else None


@router.get("/jobs/{job_id}")
def show_job(
    job_id: JobId,
    parameters: Annotated[PageParameters, Query()],
    queue: QueueDep,
    settings: SettingsDep,
    series: SeriesDep,
    render: RenderDep,
) -> Response:
    context = _job_context(queue.get(job_id), queue, settings, series)
    return render("job.html", refresh=parameters.refresh, **context)


@router.get("/jobs/{job_id}/live", dependencies=[NO_PARAMETERS])
def show_job_live(
    job_id: JobId, queue: QueueDep, settings: SettingsDep, series: SeriesDep, render: RenderDep
) -> Response:
    """What of a job's page changes."""
    return render("job_live.html", **_job_context(queue.get(job_id), queue, settings, series))


@router.get("/jobs/{job_id}/runs/{run}")
def show_run(
    job_id: JobId,
    run: str,
    parameters: Annotated[PageParameters, Query()],
    queue: QueueDep,
    settings: SettingsDep,
    series: SeriesDep,
    render: RenderDep,
) -> Response:
    context = _run_context(queue.get(job_id), run, queue, settings, series)
    return render("run.html", refresh=parameters.refresh, **context)


@router.get("/jobs/{job_id}/runs/{run}/live", dependencies=[NO_PARAMETERS])
def show_run_live(
    job_id: JobId, run: str, queue: QueueDep, settings: SettingsDep, series: SeriesDep, render: RenderDep
) -> Response:
    """What of a run's page changes."""
    return render("run_live.html", **_run_context(queue.get(job_id), run, queue, settings, series))


def _job_context(job: Job, queue: JobQueue, settings: ServiceSettings, series: SeriesReader) -> dict[str, Any]:
    read = describe(job, queue, settings)
    steps = stage_steps(job.spec.get("experiment"))
    is_study = job.kind in STUDIES
    files = job_files(settings.runs, job.job_id)
    shown = shown_files(files, job.job_id)
    results = read_results(job)
    measured, complete = _read_series(series, files)
    return {
        "job": read,
        "spec_json": json.dumps(job.spec, indent=2, ensure_ascii=False),
        "workers": _num_workers(job),
        "headline": headline(job),
        "is_study": is_study,
        "stages": () if is_study else _stages(read, tuple(steps)),
        "charts": training_charts(measured, () if is_study else stage_sections(steps)),
        "complete": complete,
        "runs": [_line(job, run) for run in study_runs(job, settings.runs)],
        "value_name": metric_name(_metric(job)),
        "results": results,
        "results_unread": results is None and job.results is not None,
        "tables": _tables(results, job.job_id),
        "result_charts": sweep_charts(results) if isinstance(results, SweepResults) else (),
        "shortcomings": results.shortcomings() if isinstance(results, TrainResults | SecondStageResults) else (),
        "pictures": pictures(shown),
        "files": shown,
        "ways_out": WAYS_OUT,
        "actions": _actions(job),
        "cancellable": not job.state.is_terminal and not job.desired.is_end,
        "cancelling": not job.state.is_terminal and job.desired.is_end,
        "pausing": job.state.is_leased and job.desired is Desired.PAUSE,
        "live_url": None if job.state.is_terminal else f"/jobs/{job.job_id}/live",
        "events_url": f"/v1/jobs/{job.job_id}/events",
        "every_ms": LIVE_MS,
        "log": _log(files),
        "logs_url": f"/v1/jobs/{job.job_id}/logs",
    }


def _run_context(
    job: Job, name: str, queue: JobQueue, settings: ServiceSettings, series: SeriesReader
) -> dict[str, Any]:
    run = next((run for run in study_runs(job, settings.runs) if run.name == name), None)
    if run is None:
        raise RunNotFound(f"job {job.job_id} has no run {name[:100]!r}; its page /jobs/{job.job_id} lists those it has")
    files = job_files(settings.runs, job.job_id, name) if run.begun else None
    shown = shown_files(files, job.job_id, name) if files else ()
    steps = stage_steps((read_record(files) or {}).get("experiment")) if files else {}
    judgement = run.found.judgement if run.found else None
    measured, complete = _read_series(series, files) if files else ({}, True)
    return {
        "job": describe(job, queue, settings),
        "line": _line(job, run),
        "value_name": metric_name(_metric(job)),
        "tables": tables.judgement_tables(tuple(judgement.ap), {"trained": judgement}) if judgement else (),
        "charts": training_charts(measured, stage_sections(steps)),
        "complete": complete,
        "pictures": pictures(shown),
        "files": shown,
        "ways_out": WAYS_OUT,
        "live_url": f"/jobs/{job.job_id}/runs/{name}/live" if _may_go_on(job, run) else None,
        "events_url": f"/v1/jobs/{job.job_id}/events",
        "every_ms": LIVE_MS,
        "log": _log(files) if files else None,
        "logs_url": f"/v1/jobs/{job.job_id}/logs?{urlencode({'run': name})}",
    }


def _actions(job: Job) -> frozenset[str]:
    """What the page offers to do, beside a cancel and a clone, which is always possible."""
    offered = set()
    if not job.state.is_terminal and not job.desired.is_end:
        offered.add("resume" if job.desired is Desired.PAUSE else "pause")
    if job.state in (JobState.FAILED, JobState.CANCELLED):
        offered.add("retry")
    if job.state.is_waiting:
        offered.add("priority")
    if job.state.is_terminal:
        offered.add("delete")
    if job.state.is_leased and job.desired is not Desired.KILL:
        offered.add("kill")
    return frozenset(offered)


def _log(files: RunFiles) -> LogTail | None:
    attempt, lines = log_tail(files)
    return LogTail(attempt, "\n".join(map(readable, lines))) if lines else None


def _may_go_on(job: Job, run: StudyRun) -> bool:
    """Whether the run's page may change: also one that failed for a passing reason, which the job's next attempt trains
    again.
    """
    failure = run.found.failure if run.found else None
    passing = failure is not None and failure.reason.is_retryable and not job.state.is_terminal
    return run.state in (RunNow.WAITING, RunNow.RUNNING) or passing


def _read_series(reader: SeriesReader, files: RunFiles) -> tuple[Series, bool]:
    """What was measured, and whether that is all of it: very much is read in several answers."""
    found = reader.read(files)
    series = {name: tuple(zip(points.steps, points.values, strict=True)) for name, points in found.series.items()}
    return series, found.complete


def _num_workers(job: Job) -> int:
    resources = job.spec.get("resources")
    workers = resources.get("num_workers") if isinstance(resources, dict) else None
    return workers if isinstance(workers, int) else 1


def _metric(job: Job) -> str:
    """What the runs of a study are compared by."""
    metric = job.spec.get("metric")
    return metric if isinstance(metric, str) else "eval/mean_ap"


def _line(job: Job, run: StudyRun) -> RunLine:
    return RunLine(run, metric_value(_metric(job), run.value))


def _tables(results: AnyResults | None, job_id: str) -> tuple[tables.Table, ...]:
    match results:
        case TrainResults():
            return tables.train_tables(results)
        case AblationResults():
            return tables.ablation_tables(results)
        case SweepResults():
            return tables.sweep_tables(results, job_id)
        case EvaluateResults():
            return tables.evaluate_tables(results)
        case SecondStageResults():
            return tables.second_stage_tables(results)
        case CheckDataResults():
            return tables.count_tables(results)
        case PredictResults() | None:
            return ()


def _stages(job: JobRead, trained: tuple[str, ...]) -> tuple[Stage, ...]:
    """What a training goes through, and where it is."""
    before = ("data", "pseudo_labels") if job.kind == "second_stage" else ("data",)
    if job.spec.get("train") is False:
        trained = ()
    names = (*before, *trained, "evaluate") if trained else before if job.kind == "second_stage" else ()
    if job.state is JobState.SUCCEEDED:
        return tuple(Stage(name, "done") for name in names)
    now = job.progress.stage if job.progress and job.progress.stage in names else None
    at = names.index(now) if now is not None else -1
    return tuple(
        Stage(name, "ahead" if index > at else "current" if index == at else "done") for index, name in enumerate(names)
    )
