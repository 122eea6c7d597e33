"""What the API answers and the client reads: one set of models for both ends. Times are ISO 8601 in UTC."""

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue

from service.jobs.data_results import CheckDataResults
from service.jobs.progress import JobProgress
from service.jobs.specs import JobSpec
from service.jobs.states import DatasetState, Desired, FailureReason, JobState, RunNow


class Answer(BaseModel):
    """Frozen; a client ignores fields it does not know, so that a newer service may answer an older client."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class FailureRead(Answer):
    reason: FailureReason
    message: str
    """what and where; of bad input also the field or file"""
    way_out: str
    """what a person can do about failures of this reason; docs/failures has a page for each"""


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
    failed_attempts: int = 0
    """of those, charged to the job itself: at `max_attempts` it fails"""
    max_attempts: int
    lost_attempts: int = 0
    """charged to a worker, Ray, a disk or the network: at `max_lost_attempts` it fails"""
    max_lost_attempts: int = 0
    progress: JobProgress | None
    failure: FailureRead | None
    config_digest: str
    """equal for equal experiments"""
    mlflow: TrackingRead | None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    available_at: AwareDatetime
    """not claimed before this: the end of a back-off"""
    deadline_at: AwareDatetime | None = None
    """when it must have left its state; null: it may stay"""
    cloned_from: str | None = None
    """id of the job it was cloned from"""
    started_at: AwareDatetime | None
    ended_at: AwareDatetime | None
    links: JobLinks


class WaitingOnRead(Answer):
    """One thing that a job waits for."""

    kind: Literal["turn", "worker", "resources", "back_off", "dependency", "pause", "quota"]
    detail: str
    """a sentence"""


class QueueRead(Answer):
    """Where a job stands among those that wait, as things were when it was asked for."""

    position: int | None
    """1: the next to be claimed; null: it is not to be claimed yet"""
    waiting_on: tuple[WaitingOnRead, ...]
    """empty: a worker will have it at its next look into the queue"""


class JobRead(JobSummary):
    """A job, whole."""

    queue: QueueRead | None = None
    """null: it does not wait"""

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
    runs: int = Field(default=1, ge=0)
    """trainings that there will be"""
    run_names: tuple[str, ...] = ()
    """of a study whose runs are known in advance, in their order"""


class PresetRead(Answer):
    name: str
    description: str
    """one sentence"""
    kind: str = "train"
    """train: an experiment, to be given as `preset`; ablation, sweep: to be given as `study`, on an experiment;
    second_stage: what a job of that kind trains on the boxes of a model"""


class PresetList(Answer):
    presets: tuple[PresetRead, ...]


class LastWordRead(Answer):
    """The latest report of a run."""

    stage: str
    step: int
    """within the stage"""
    stage_steps: int
    fraction: float
    """of the run's estimated work"""
    global_step: int
    """optimizer steps over all stages"""
    eta_s: float | None
    """rough seconds to the run's end, as if it went on at its mean rate; null: not known, or not running"""
    metrics: dict[str, float]
    """the latest values, finite ones only"""
    updated_at: AwareDatetime


class RunRead(Answer):
    """One training of a study."""

    name: str
    variant: str
    """the row of the table it belongs to; of a sweep, the trial"""
    seed: int
    overrides: dict[str, JsonValue]
    state: RunNow
    progress: LastWordRead | None
    """null: nothing reported yet"""
    value: float | None
    """the sweep's metric, of an ablation mean AP; null: not known yet"""
    mean_ap: float | None
    mean_corloc: float | None
    mean_classification_ap: float | None = None
    """of the test images' labels: what stands for mean AP where nobody drew boxes"""
    failure: FailureRead | None


class RunList(Answer):
    runs: tuple[RunRead, ...]
    """in the study's own order; of a search that draws its trials only those that have begun"""


class Series(Answer):
    """A metric over training, thinned to at most a thousand points, with the smallest and largest of each stretch."""

    steps: tuple[int, ...]
    """optimizer steps over all stages, increasing"""
    values: tuple[float | None, ...]
    """null: the value was not finite"""


class MetricsRead(Answer):
    series: dict[str, Series]
    complete: bool
    """false: more is on disk than one request reads; the next one goes on from there"""


class ArtifactRead(Answer):
    name: str
    num_bytes: int
    sha256: str
    media_type: str
    url: str
    """path below this server"""


class ArtifactList(Answer):
    artifacts: tuple[ArtifactRead, ...]


class RegisteredRead(Answer):
    """A model's version in MLflow's registry."""

    name: str
    version: str
    champion: bool


class ModelRead(Answer):
    """A trained model."""

    id: str
    """the job's id, or JOB/RUN for a run of a study: what jobs of kind evaluate and predict take as `model`"""
    job_id: str
    run: str | None
    name: str
    kind: str
    """of the job that trained it"""
    method: str
    """oicr, apart, segmentation_instructs, detection_instructs, sdcn or, of a second stage, fast_rcnn"""
    classes: tuple[str, ...]
    data_set: str
    source: dict[str, JsonValue]
    """the data set it was trained on, as the experiment names it"""
    mean_ap: float | None
    mean_corloc: float | None
    mean_classification_ap: float | None = None
    """of the test images' labels: what stands for mean AP where nobody drew boxes"""
    created_at: AwareDatetime
    files: tuple[str, ...]
    """names of its artifacts"""
    registered: RegisteredRead | None
    """null: it is not registered, or MLflow does not answer"""


class ModelList(Answer):
    models: tuple[ModelRead, ...]
    """those of the newest jobs first"""
    next_cursor: str | None
    """`cursor` of the next page; null: this was the last"""


class BoxRead(Answer):
    class_name: str = Field(alias="class")
    score: float
    """in [0, 1]"""
    xyxy: tuple[float, float, float, float]
    """px of the image, half-open"""


class SecondsRead(Answer):
    """Of the predictor, for one image."""

    proposals: float
    network: float
    """all scales and mirror images"""
    nms: float
    total: float


class ImageRead(Answer):
    file: str
    """as the request called it, without folders"""
    width: int
    height: int
    proposals: int
    """how many boxes Selective Search found to be scored"""
    boxes: tuple[BoxRead, ...]
    """best first"""
    seconds: SecondsRead


class PredictionsRead(Answer):
    model: str
    model_sha256: str
    """of its file: the same id may stand for another model after its training was repeated"""
    images: tuple[ImageRead, ...]
    """in the order of the request"""


class DatasetSummary(Answer):
    """A registered data set as lists show it."""

    name: str
    source: dict[str, JsonValue]
    """what jobs get that name it"""
    state: DatasetState
    job_id: str
    """of its newest check"""
    progress: JobProgress | None
    """of the check, while it runs"""
    num_classes: int | None
    """null: not counted yet"""
    images: dict[str, int] | None
    """by split, those that the source names first; null: not counted yet"""
    num_problems: int
    created_at: AwareDatetime
    checked_at: AwareDatetime | None
    """when the check ended; null: it has not"""


class DatasetRead(DatasetSummary):
    """A registered data set, whole."""

    problems: tuple[str, ...]
    """why it is refused or unchecked, each with the file and the way out"""
    counts: CheckDataResults | None
    """null: the check has not ended, or did not succeed"""


class DatasetList(Answer):
    datasets: tuple[DatasetSummary, ...]
    """in the order of their names"""
    next_cursor: str | None
    """`cursor` of the next page; null: this was the last"""


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
