"""What a client may do to a job: check it, submit it, cancel it, read its results. One transaction each."""

import hashlib
import json
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from service.errors import CheckpointNotFound, ModelNotFound, ResultsNotReady
from service.jobs.advice import warnings
from service.jobs.any_results import AnyResults, parse_results
from service.jobs.base_spec import refused
from service.jobs.specs import AblationSpec, EvaluateSpec, JobSpec, PredictSpec, SweepSpec, TrainSpec
from service.jobs.states import JobState
from service.models import ModelCatalogue
from service.queue.records import Job
from service.queue.repository import JobQueue
from service.run_files.checkpoints import checkpoint_at

log = structlog.get_logger()


@dataclass(frozen=True)
class Submission:
    job: Job
    created: bool
    """False: the Idempotency-Key was known, this is the job it made"""


def check(spec: JobSpec, models: ModelCatalogue | None = None) -> tuple[JobSpec, tuple[str, ...]]:
    """The resolved spec and what it may be warned about; the same way that submit goes.

    Args:
        spec: what is asked for.
        models: where the model of an evaluation or prediction must be; None: it is looked for when the job runs.

    Raises:
        InvalidSpec: the spec contradicts itself, or names a model or checkpoint that is not there.
    """
    resolved = spec.resolve()
    if models is not None and isinstance(resolved, EvaluateSpec | PredictSpec):
        _check_model(resolved, models)
    return resolved, warnings(resolved)


def _check_model(spec: EvaluateSpec | PredictSpec, models: ModelCatalogue) -> None:
    try:
        if isinstance(spec, EvaluateSpec) and spec.checkpoint is not None:
            files, experiment = models.training(spec.model)
            checkpoint_at(files.path, spec.checkpoint)
        else:
            experiment = models.get(spec.model).experiment
    except ModelNotFound as error:
        raise refused("model", error.detail) from None
    except CheckpointNotFound as error:
        raise refused("checkpoint", error.detail) from None
    if isinstance(spec, EvaluateSpec):
        spec.judged(experiment)


def submit(
    queue: JobQueue, spec: JobSpec, *, idempotency_key: str | None, models: ModelCatalogue | None = None
) -> Submission:
    """Queue the job; on return it is durable. `models` as for `check`.

    Raises:
        InvalidSpec: the spec contradicts itself, or names a model or checkpoint that is not there.
        IdempotencyKeyReused: the key came with another body before.
    """
    resolved, _ = check(spec, models)
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


def planned_runs(spec: JobSpec) -> tuple[int, tuple[str, ...]]:
    """How many trainings a resolved spec asks for, and their names where a study fixes them in advance."""
    match spec:
        case AblationSpec():
            names = tuple(run.name for run in spec.runs())
            return len(names), names
        case SweepSpec():
            known = spec.known_trials() or {}
            names = tuple(spec.run_of(trial, known[trial], seed).name for trial in known for seed in spec.seeds)
            return spec.num_trials, names
        case TrainSpec():
            return 1, ()
        case _:
            return 0, ()


def results(queue: JobQueue, job_id: str) -> AnyResults:
    """What a job that succeeded found.

    Raises:
        JobNotFound: there is none.
        ResultsNotReady: it has not succeeded, or another version wrote what it found; the message says what to do.
    """
    job = queue.get(job_id)
    if job.results is not None:
        try:
            return parse_results(job.results)
        except ValidationError:
            raise ResultsNotReady(
                f"the results of job {job_id} were written by another version of the service, which this one cannot"
                " read; submit the job again"
            ) from None
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
