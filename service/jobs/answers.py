"""What the API answers and the client reads: one set of models for both ends. Times are ISO 8601 in UTC."""

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from service.jobs.progress import JobProgress
from service.jobs.specs import JobSpec
from service.jobs.states import Desired, FailureReason, JobState


class Answer(BaseModel):
    """Frozen; a client ignores fields it does not know, so that a newer service may answer an older client."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class FailureRead(Answer):
    reason: FailureReason
    message: str
    """what, where, and the way out"""


class AttemptRead(Answer):
    attempt: int
    worker_id: str
    pid: int | None
    """of the training process, on the worker's machine"""
    started_at: AwareDatetime
    ended_at: AwareDatetime | None
    outcome: JobState | None
    """the state the job went to when this attempt ended; null: it is under way"""
    failure: FailureRead | None
    """why it ended, where it did not succeed"""
    resumed_from_step: int | None
    """global step of the checkpoint it went on from; null: it began at the beginning"""


class TrackingRead(Answer):
    """The job's run in MLflow."""

    run_id: str
    url: str | None
    """null: the service was not told where MLflow is"""


class JobLinks(Answer):
    """Paths below this server."""

    self: str
    results: str
    cancel: str


class JobSummary(Answer):
    """A job as lists show it."""

    id: str
    kind: str
    name: str | None
    state: JobState
    desired: Desired
    """what the client wants, apart from what is: `cancel` with state `running` means that the end is near"""
    priority: int
    attempt: int
    """attempts begun"""
    max_attempts: int
    progress: JobProgress | None
    failure: FailureRead | None
    config_digest: str
    """equal for equal experiments"""
    mlflow: TrackingRead | None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    available_at: AwareDatetime
    """not claimed before this: the end of a back-off"""
    started_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    links: JobLinks


class JobRead(JobSummary):
    """A job, whole."""

    spec: dict[str, JsonValue]
    """resolved: the experiment with every value"""
    attempts: tuple[AttemptRead, ...]
    artifacts: tuple[str, ...]
    """files the run has left, relative to the service's home folder"""


class JobList(Answer):
    jobs: tuple[JobSummary, ...]
    """newest first"""
    next_cursor: str | None
    """`cursor` of the next page; null: this was the last"""


class SpecRead(Answer):
    """What validation of a job found; nothing was queued."""

    spec: JobSpec
    """resolved: the experiment with every value"""
    total_steps: int = Field(ge=0)
    """optimizer steps of all stages"""
    config_digest: str
    warnings: tuple[str, ...]


class PresetRead(Answer):
    name: str
    description: str
    """one sentence"""


class PresetList(Answer):
    presets: tuple[PresetRead, ...]


class FieldRead(Answer):
    field: str
    """dotted path from the top of the body or the name of a parameter; "" for the body as a whole"""
    message: str


class Problem(Answer):
    """RFC 9457: what went wrong, in words, with the fields at fault."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    request_id: str | None = None
    """names the request in the service's log"""
    errors: tuple[FieldRead, ...] = ()
