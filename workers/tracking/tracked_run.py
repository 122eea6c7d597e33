"""What must be known of a job, or of one run of a study, to record it; and what is recorded under which name."""

import json
from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue

from sdcn_core.config.experiment import ExperimentConfig
from service.jobs.base_spec import total_steps
from service.jobs.specs import JobSpec, SecondStageSpec, TrainSpec
from service.queue.records import Claim
from workers.attempt_folder import write_atomically
from workers.tracking.parameters import parameters_of
from workers.tracking.registered_name import registered_name

JOB_TAG = "sdcn.job_id"
"""by which a job's run, and those of its study, are found again"""
KIND_TAG = "sdcn.kind"
ATTEMPT_TAG = "sdcn.attempt"
DIGEST_TAG = "sdcn.config_digest"
NAME_TAG = "sdcn.name"
STATE_TAG = "sdcn.state"
FAILURE_TAG = "sdcn.failure"
RUN_TAG = "sdcn.run"
"""a run's name within its study; a job's own run has none"""
VARIANT_TAG = "sdcn.variant"
SEED_TAG = "sdcn.seed"
OVERRIDES_TAG = "sdcn.overrides"
"""what sets the run apart from the study's experiment, as JSON; the parameters have it among all others"""
WITHOUT_BOXES_TAG = "sdcn.without_boxes"
"""what could not be counted because nobody drew boxes, in the words of the results; missing where they are known"""
MODEL_TAG = "sdcn.model"
"""the version the model is registered as, or why it is not"""


class TrackedRun(BaseModel):
    """A job or a run as MLflow shall know it, kept in its folder: whoever finds the folder can deliver."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_id: str
    name: str
    config_digest: str
    created_at_ms: int
    parameters: dict[str, str]
    tags: dict[str, str] = {}
    total_steps: int = 0
    """optimizer steps of the whole run; 0: unknown, or none are made"""
    registered_model: str | None = None
    """what its trained model is registered as, with those that were judged alike; None: it is not"""
    data_digest: str | None = None
    """equal for equal data sets, however they are judged"""


class RecordedRun(BaseModel):
    """What tracking reads of the run.json that a study writes before a run starts."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    variant: str
    seed: int
    overrides: dict[str, JsonValue]
    experiment: ExperimentConfig
    created_at_ms: int


class TrackingFiles:
    """Where a run keeps what is recorded about it and how far that has been delivered."""

    def __init__(self, run_path: Path) -> None:
        self.folder = run_path / "tracking"
        self.run = self.folder / "run.json"
        """exists while something may be left to deliver"""
        self.delivered = self.folder / "run.delivered.json"
        """what `run` becomes when nothing is"""
        self.state = self.folder / "state.json"
        self.lock = self.folder / "lock"


def describe(claim: Claim, run_path: Path) -> None:
    """Write down what a job is, so that its run can be recorded, now or after everybody here has died."""
    files = TrackingFiles(run_path)
    files.folder.mkdir(parents=True, exist_ok=True)
    write_atomically(files.run, tracked_job(claim.job_id, claim.spec, claim.created_at).model_dump_json(indent=2))


def tracked_job(job_id: str, spec: JobSpec, created_at: datetime) -> TrackedRun:
    """A job of any kind; `spec` is resolved."""
    trained_here = _trained_by(spec)
    return TrackedRun(
        job_id=job_id,
        name=spec.name or job_id,
        config_digest=spec.config_digest,
        created_at_ms=round(created_at.timestamp() * 1000),
        parameters=parameters_of(spec),
        tags={KIND_TAG: spec.kind},
        total_steps=spec.total_steps if spec.kind in ("train", "second_stage") else 0,
        registered_model=None if trained_here is None else registered_name(trained_here),
        data_digest=None if trained_here is None else trained_here.data.source.digest(),
    )


def _trained_by(spec: JobSpec) -> ExperimentConfig | None:
    """The experiment of a job that trains one model itself."""
    match spec:
        case TrainSpec() | SecondStageSpec(train=True):
            return spec.resolved_experiment
        case _:
            return None


def tracked_run(job_id: str, recorded: RecordedRun) -> TrackedRun:
    """One run of a study. Its parameters are its whole experiment, so that MLflow's compare view shows where runs
    differ.
    """
    return TrackedRun(
        job_id=job_id,
        name=recorded.name,
        config_digest=recorded.experiment.digest(),
        created_at_ms=recorded.created_at_ms,
        parameters=recorded.experiment.flat(),
        tags={
            RUN_TAG: recorded.name,
            VARIANT_TAG: recorded.variant,
            SEED_TAG: str(recorded.seed),
            OVERRIDES_TAG: json.dumps(recorded.overrides),
        },
        total_steps=total_steps(recorded.experiment),
    )
