"""The trained models that jobs have left on disk: what is listed, evaluated, and asked for predictions.

A model's id is the id of the job that trained it, or JOB/RUN for a run of a study.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import islice

from pydantic import JsonValue, ValidationError

from sdcn_core.config.data import ScenesSource
from sdcn_core.config.experiment import ExperimentConfig
from service.checkpoint_storage import CheckpointStorage, Place
from service.errors import JobNotFound, ModelNotFound, RunNotFound
from service.jobs.any_results import parse_results, training_in
from service.jobs.results import Judgement
from service.jobs.states import JobState
from service.jobs.study_results import RunState
from service.queue.records import Cursor, Job
from service.queue.repository import JobQueue
from service.run_files.artifacts import artifact_names
from service.run_files.folders import RunFiles, job_files, run_folders
from service.run_files.study_runs import STUDIES, read_found, read_record

MODEL_FILE = "model.pt"
"""without it a training has left no model"""
TRAINERS = ("train", "second_stage")
"""kinds of job that train one model themselves"""
MAX_JOBS_LOOKED_AT = 1000
"""for one page of models"""
PAGE_OF_JOBS = 100


class Method(StrEnum):
    """What an experiment is, by the switches of its objective; the rows of the paper's table 2."""

    OICR = "oicr"
    """detection alone"""
    APART = "apart"
    """both branches, neither instructing the other"""
    SEGMENTATION_INSTRUCTS = "segmentation_instructs"
    DETECTION_INSTRUCTS = "detection_instructs"
    SDCN = "sdcn"
    """the closed loop"""
    FAST_RCNN = "fast_rcnn"
    """a second stage"""

    @classmethod
    def of(cls, experiment: ExperimentConfig) -> "Method":
        objective = experiment.objective
        if experiment.second_stage is not None:
            return cls.FAST_RCNN
        if not objective.segmentation_branch:
            return cls.OICR
        match objective.segmentation_instructs_detection, objective.detection_instructs_segmentation:
            case True, True:
                return cls.SDCN
            case True, False:
                return cls.SEGMENTATION_INSTRUCTS
            case False, True:
                return cls.DETECTION_INSTRUCTS
            case _:
                return cls.APART


@dataclass(frozen=True)
class Model:
    """A finished training's model."""

    model_id: str
    job_id: str
    run: str | None
    """of a study; None: the job trained it itself"""
    name: str
    kind: str
    """of the job"""
    classes: tuple[str, ...]
    experiment: ExperimentConfig
    """with which it was trained"""
    judgement: Judgement
    created_at: datetime
    """when its job was submitted"""
    files: tuple[str, ...]

    @property
    def method(self) -> Method:
        return Method.of(self.experiment)

    @property
    def data_set(self) -> str:
        """The data set it was trained on in a word: `scenes`, or the folder."""
        source = self.experiment.data.source
        return source.kind if isinstance(source, ScenesSource) else source.path


@dataclass(frozen=True)
class ModelPage:
    models: tuple[Model, ...]
    following: Cursor | None
    """where the next page begins; None: this was the last"""


class ModelCatalogue:
    """The models below one folder of runs, by the jobs of one queue."""

    def __init__(self, queue: JobQueue, storage: CheckpointStorage) -> None:
        self._queue = queue
        self._runs = storage.runs
        self._storage = storage

    def page(self, *, limit: int, after: Cursor | None = None) -> ModelPage:
        """Models, those of the newest jobs first. A page ends with the job in which it has `limit` models, so it may
        hold more; where jobs without models are many, it may hold fewer, and even none.
        """
        models: list[Model] = []
        looked_at = 0
        while looked_at < MAX_JOBS_LOOKED_AT:
            page = self._queue.page(limit=PAGE_OF_JOBS, after=after)
            for number, job in enumerate(page.jobs, start=1):
                models += self._of(job)
                after = Cursor(_milliseconds(job.created_at), job.job_id)
                if len(models) >= limit:
                    is_last = number == len(page.jobs) and page.following is None
                    return ModelPage(tuple(models), None if is_last else after)
            if page.following is None:
                return ModelPage(tuple(models), None)
            after = page.following
            looked_at += len(page.jobs)
        return ModelPage(tuple(models), after)

    def get(self, model_id: str) -> Model:
        """The model of this id, as a client wrote it.

        Raises:
            ModelNotFound: there is none; the message names some that are there.
        """
        job_id, slash, run = model_id.partition("/")
        try:
            job = self._queue.get(job_id)
            model = self._run_of(job, run, job_files(self._runs, job_id, run)) if slash else self._of_training(job)
        except (JobNotFound, RunNotFound):
            model = None
        if model is None:
            raise ModelNotFound(f"no finished training has left a model {model_id[:150]!r}; {self._some()}")
        return model

    def training(self, model_id: str) -> tuple[Place, ExperimentConfig]:
        """Where a training, finished or not, keeps its checkpoints, and the experiment with which it was begun.

        Raises:
            ModelNotFound: there is no training of this id.
        """
        job_id, slash, run = model_id.partition("/")
        try:
            job = self._queue.get(job_id)
            files = job_files(self._runs, job_id, run if slash else None)
            asked = (read_record(files) or {}) if slash else job.spec
            if job.kind in (STUDIES if slash else TRAINERS):
                return self._storage.of(files.path), ExperimentConfig.model_validate(asked.get("experiment"))
        except (JobNotFound, RunNotFound, ValidationError):
            pass
        raise ModelNotFound(
            f"no training has the id {model_id[:150]!r}: name a job of kind train or second_stage, or JOB/RUN of a"
            " study's run"
        )

    def _some(self) -> str:
        known = [model.model_id for model in self.page(limit=5).models[:5]]
        if not known:
            return "there is no model yet: train one, with a job of kind train"
        return f"GET /v1/models lists those there are, such as {', '.join(known)}"

    def _of(self, job: Job) -> Iterator[Model]:
        if job.kind in TRAINERS and (model := self._of_training(job)) is not None:
            yield model
        if job.kind in STUDIES:
            for name, files in run_folders(self._runs, job.job_id).items():
                if (model := self._run_of(job, name, files)) is not None:
                    yield model

    def _of_training(self, job: Job) -> Model | None:
        if job.kind not in TRAINERS or job.state is not JobState.SUCCEEDED:
            return None
        try:
            results = training_in(parse_results(job.results))
        except ValidationError:
            return None
        if results is None:
            return None
        files = job_files(self._runs, job.job_id)
        return _model(job, None, files, job.spec.get("experiment"), results.classes, results.trained)

    def _run_of(self, job: Job, name: str, files: RunFiles) -> Model | None:
        found = read_found(files) if job.kind in STUDIES else None
        if found is None or found.state is not RunState.SUCCEEDED or found.judgement is None:
            return None
        record = read_record(files) or {}
        return _model(job, name, files, record.get("experiment"), tuple(found.judgement.ap), found.judgement)


def _model(
    job: Job, run: str | None, files: RunFiles, experiment: JsonValue, classes: tuple[str, ...], judgement: Judgement
) -> Model | None:
    names = tuple(islice(artifact_names(files), 200))
    if MODEL_FILE not in names:
        return None
    try:
        config = ExperimentConfig.model_validate(experiment)
    except ValidationError:  # another version's
        return None
    return Model(
        model_id=job.job_id if run is None else f"{job.job_id}/{run}",
        job_id=job.job_id,
        run=run,
        name=(job.name or job.job_id) if run is None else f"{job.name or job.job_id}/{run}",
        kind=job.kind,
        classes=classes,
        experiment=config,
        judgement=judgement,
        created_at=job.created_at,
        files=names,
    )


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
