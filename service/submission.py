"""What a client may do: check and submit a job, read its results, register a data set. One transaction each."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from pydantic import ValidationError

from sdcn_core.config.presets import PRESETS
from service.errors import CheckpointNotFound, DatasetExists, DatasetNotFound, ModelNotFound, ResultsNotReady
from service.jobs.advice import warnings
from service.jobs.any_results import AnyResults, parse_results
from service.jobs.base_spec import refused
from service.jobs.capacity import doubts
from service.jobs.data_specs import DatasetSpec
from service.jobs.registered import registered_names, with_sources
from service.jobs.specs import AblationSpec, EvaluateSpec, JobSpec, PredictSpec, SecondStageSpec, SweepSpec, TrainSpec
from service.jobs.states import DatasetState, JobState
from service.models import Model, ModelCatalogue
from service.queue.datasets import DatasetRegister
from service.queue.records import Dataset, Job, Worker
from service.queue.repository import JobQueue
from service.run_files.checkpoints import checkpoint_at

log = structlog.get_logger()


@dataclass(frozen=True)
class Submission:
    job: Job
    created: bool
    """False: the Idempotency-Key was known, this is the job it made"""


@dataclass(frozen=True)
class Checked:
    """A job that could be queued."""

    spec: JobSpec
    """resolved"""
    warnings: tuple[str, ...]
    datasets: tuple[str, ...]
    """registered data sets whose sources it has"""


def check(
    spec: JobSpec,
    datasets: DatasetRegister,
    models: ModelCatalogue | None = None,
    workers: Sequence[Worker] | None = None,
) -> Checked:
    """The resolved spec and what it may be warned about; the same way that submit goes.

    Args:
        spec: what is asked for.
        datasets: where the registered data sets that it names must be.
        models: where the model of an evaluation, a prediction or a second stage must be; None: it is looked for when
            the job runs.
        workers: those that live, one of whose clusters must have room; None: that shows when the job runs.

    Raises:
        InvalidSpec: the spec contradicts itself, names a data set, model or checkpoint that is not there, or asks for
            more than there is.
    """
    named = {name: _usable(name, field, datasets) for name, field in registered_names(spec).items()}
    resolved = with_sources(spec, {name: dataset.spec().source for name, dataset in named.items()}).resolve()
    if models is not None and isinstance(resolved, EvaluateSpec | PredictSpec) and not _comes_later(resolved):
        _check_model(resolved, models)
    if models is not None and isinstance(resolved, SecondStageSpec):
        resolved = resolved.taught_by(_model(resolved.model, models).experiment)
    unsure = tuple(sentence for dataset in named.values() if (sentence := _unsure_of(dataset)) is not None)
    room = () if workers is None else doubts(resolved.resources, [worker.capacity for worker in workers])
    return Checked(resolved, unsure + warnings(resolved) + room, tuple(named))


def _usable(name: str, field: str, datasets: DatasetRegister) -> Dataset:
    """The data set that the field names, unless its check has found it wanting.

    Raises:
        InvalidSpec: it is not registered, or was refused.
    """
    try:
        found = datasets.get(name)
    except DatasetNotFound as error:
        raise refused(field, error.detail) from None
    if found.state is DatasetState.REFUSED:
        first, *others = found.problems
        more = f" (and {len(others)} more: GET /v1/datasets/{name})" if others else ""
        raise refused(
            field, f"data set {name!r} was refused: {first}{more}; once it is put right, POST /v1/datasets/{name}/check"
        )
    return found


def _unsure_of(dataset: Dataset) -> str | None:
    match dataset.state:
        case DatasetState.CHECKING:
            return f"data set {dataset.name!r} is still being checked: should it be refused, this job will fail"
        case DatasetState.UNCHECKED:
            return f"data set {dataset.name!r} is unchecked: {dataset.problems[0]}"
        case _:
            return None


def _model(model_id: str, models: ModelCatalogue) -> Model:
    try:
        return models.get(model_id)
    except ModelNotFound as error:
        raise refused("model", error.detail) from None


def _comes_later(spec: EvaluateSpec | PredictSpec) -> bool:
    """Whether the job waits for the one that trains its model."""
    return spec.model.partition("/")[0] in spec.after


def _check_model(spec: EvaluateSpec | PredictSpec, models: ModelCatalogue) -> None:
    try:
        if isinstance(spec, EvaluateSpec) and spec.checkpoint is not None:
            checkpoints, experiment = models.training(spec.model)
            checkpoint_at(checkpoints, spec.checkpoint)
        else:
            experiment = _model(spec.model, models).experiment
    except ModelNotFound as error:
        raise refused("model", error.detail) from None
    except CheckpointNotFound as error:
        raise refused("checkpoint", error.detail) from None
    if isinstance(spec, EvaluateSpec):
        spec.judged(experiment)


def submit(
    queue: JobQueue,
    spec: JobSpec,
    datasets: DatasetRegister,
    *,
    idempotency_key: str | None,
    models: ModelCatalogue | None = None,
    cloned_from: str | None = None,
) -> Submission:
    """Queue the job; on return it is durable. `datasets` and `models` as for `check`; `cloned_from` is the id of the
    job whose spec it was made from.

    Raises:
        InvalidSpec: the spec contradicts itself, or names a data set, model or checkpoint that is not there.
        IdempotencyKeyReused: the key came with another body before.
    """
    checked = check(spec, datasets, models, queue.workers())
    try:
        job, created = queue.enqueue(
            checked.spec,
            idempotency_key=idempotency_key,
            body_digest=_digest(spec),
            datasets=checked.datasets,
            cloned_from=cloned_from,
        )
    except DatasetNotFound as error:  # removed since it was looked up
        raise refused("", error.detail) from None
    log.info("job.submitted" if created else "job.replayed", job_id=job.job_id, kind=job.kind, name=job.name)
    return Submission(job, created)


def register(datasets: DatasetRegister, spec: DatasetSpec) -> Dataset:
    """Register a data set and queue its check; on return both are durable.

    Raises:
        DatasetExists: the name is taken, be it by a preset.
    """
    if spec.name in PRESETS:
        raise DatasetExists(f"{spec.name!r} is a preset, and `--data` takes the names of both: choose another")
    dataset = datasets.register(spec)
    log.info("dataset.registered", name=spec.name, job_id=dataset.check.job_id)
    return dataset


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
        case SecondStageSpec():
            return int(spec.train), ()
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
