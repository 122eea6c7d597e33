"""Runs, series, artifacts and models as answers."""

import math
from urllib.parse import quote

from service.api.schemas import describe_failure
from service.jobs.answers import (
    ArtifactRead,
    LastWordRead,
    ModelRead,
    RegisteredRead,
    RunRead,
    Series,
)
from service.jobs.states import RunNow
from service.models import Model
from service.queue.reading import to_time
from service.registry import Registered
from service.run_files.artifacts import Artifact
from service.run_files.series import Points
from service.run_files.spool_tail import LastWord
from service.run_files.study_runs import StudyRun


def describe_run(run: StudyRun) -> RunRead:
    judgement = None if run.found is None else run.found.judgement
    return RunRead(
        name=run.name,
        variant=run.variant,
        seed=run.seed,
        overrides=run.overrides,
        state=run.state,
        progress=_last_word(run.last_word, running=run.state is RunNow.RUNNING),
        value=run.value,
        mean_ap=None if judgement is None else judgement.mean_ap,
        mean_corloc=None if judgement is None else judgement.mean_corloc,
        mean_classification_ap=None if judgement is None else judgement.mean_classification_ap,
        failure=None if run.found is None else describe_failure(run.found.failure),
    )


def _last_word(said: LastWord | None, *, running: bool) -> LastWordRead | None:
    if said is None:
        return None
    latest = said.latest
    return LastWordRead(
        stage=latest.stage,
        step=latest.step,
        stage_steps=latest.stage_steps,
        fraction=latest.fraction,
        global_step=latest.global_step,
        eta_s=said.eta_s if running else None,
        metrics={name: value for name, value in said.metrics.items() if math.isfinite(value)},
        updated_at=to_time(latest.time_ms),
    )


def describe_series(points: Points) -> Series:
    return Series(steps=points.steps, values=tuple(value if math.isfinite(value) else None for value in points.values))


def artifact_url(job_id: str, name: str, run: str | None) -> str:
    query = "" if run is None else f"?run={quote(run, safe='')}"
    return f"/v1/jobs/{job_id}/artifacts/{quote(name, safe='')}{query}"


def describe_artifact(artifact: Artifact, job_id: str, run: str | None) -> ArtifactRead:
    return ArtifactRead(
        name=artifact.name,
        num_bytes=artifact.num_bytes,
        sha256=artifact.sha256,
        media_type=artifact.media_type,
        url=artifact_url(job_id, artifact.name, run),
    )


def describe_model(model: Model, registered: Registered | None) -> ModelRead:
    version = None if registered is None else registered.versions.get(model.model_id)
    return ModelRead(
        id=model.model_id,
        job_id=model.job_id,
        run=model.run,
        name=model.name,
        kind=model.kind,
        method=model.method,
        classes=model.classes,
        data_set=model.data_set,
        source=model.experiment.data.source.model_dump(mode="json"),
        mean_ap=model.judgement.mean_ap,
        mean_corloc=model.judgement.mean_corloc,
        mean_classification_ap=model.judgement.mean_classification_ap,
        created_at=model.created_at,
        files=model.files,
        registered=None
        if version is None
        else RegisteredRead(name=version.name, version=version.version, champion=version.champion),
    )
