"""One second stage: a trained model's boxes found in a task of Ray's, written down, and learnt by a Fast R-CNN."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from torch import Tensor

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.data.datasets import DataRoots, open_annotated_set, open_train_set
from sdcn_core.data.image_set import ImageSet
from sdcn_core.data.images import read_image
from sdcn_core.data.proposals import compute_proposals
from sdcn_core.errors import BadInput, DatasetError
from sdcn_core.evaluation.predictions import shown_images
from sdcn_core.inference.page import predictions_page
from sdcn_core.inference.prediction import FoundBox
from sdcn_core.models.saved import load_model
from sdcn_core.pseudo_labels.export import COCO_FILE, VOC_FILE, write_coco, write_voc
from sdcn_core.pseudo_labels.labels import (
    PseudoLabels,
    check_pseudo_labels,
    find_pseudo_boxes,
    load_pseudo_labels,
    save_pseudo_labels,
)
from sdcn_core.structures.outputs import ScoredProposals
from sdcn_core.structures.pseudo_boxes import PseudoBoxes
from sdcn_core.training.inputs import ignore_progress
from sdcn_core.training.judging import judged_means
from sdcn_core.training.plan import DATA_SHARE, Fractions, check_world_size
from sdcn_core.training.progress import Stage
from service.errors import InvalidSpec
from service.jobs.any_results import judgement_in, parse_results
from service.jobs.results import Judgement
from service.jobs.second_stage_results import PseudoLabelsFound, SecondStageResults
from service.jobs.second_stage_spec import SecondStageSpec
from workers.attempt_folder import AttemptOrder, Succeeded
from workers.errors import AttemptStopped
from workers.executors.base import JobContext
from workers.executors.data import prepare_data
from workers.executors.train import export, train_on_ray
from workers.executors.trained_model import in_task, model_path, training_files
from workers.ray_runtime.one_task import TaskOrder, run_as_task
from workers.reporting.train import write_train_report
from workers.spool import FileEvent, MetricsEvent, NoteEvent, ProgressEvent
from workers.training.result_files import keep_text, write_table

FOLDER = "pseudo_labels"
"""below the job's folder: what is found, also for the next attempt"""
LABELS_FILE = "labels.npz"
BEGUN_FILE = "begun.npz"
PICTURE_FILE = "pseudo_labels.png"
PICTURED_IMAGES = 24
KEPT_EVERY_S = 30.0
"""at most so much of the search is done again after a kill"""
TOLD_EVERY_S = 0.5


def second_stage(context: JobContext) -> Succeeded:
    """See JobExecutor."""
    spec = _spec(context.order)
    artifacts = context.run.artifacts
    experiment = student_experiment(context.order, spec)
    keep_text(context.spool, artifacts / "config.json", experiment.model_dump_json(indent=2))
    if spec.train:
        check_world_size(experiment, spec.resources.num_workers)
    prepare_data(context, experiment.data)
    context.check_stop()
    labels = _labels(context, spec)
    teacher = teacher_judgement(context.order, spec.model)
    student = None
    if spec.train:
        student = train_on_ray(
            context, experiment, spec.resources, pseudo_labels=context.run.path / FOLDER / LABELS_FILE
        )
    results = SecondStageResults(
        model=spec.model, classes=labels.classes, pseudo_labels=_counted(labels), teacher=teacher, student=student
    )
    _keep_results(context, results)
    if student is not None:
        if spec.export:
            export(context)
        resolved = spec.model_copy(update={"experiment": experiment, "overrides": {}})
        report = write_train_report(
            student, job_id=context.order.job_id, spec=resolved, run_path=context.run.path, teacher=teacher
        )
        for name, path in report.items():
            context.spool.append(FileEvent(name=name, path=path))
    return Succeeded(
        results=json.loads(results.model_dump_json()),
        artifacts={path.name: path for path in sorted(artifacts.iterdir()) if not path.name.startswith(".")},
    )


def _spec(order: AttemptOrder) -> SecondStageSpec:
    assert isinstance(order.spec, SecondStageSpec)
    return order.spec


def student_experiment(order: AttemptOrder, spec: SecondStageSpec) -> ExperimentConfig:
    """The experiment of the second stage: the job's own, or what follows on the model that it names.

    Raises:
        BadInput: the model is gone, or the job's overrides do not fit its experiment.
    """
    path = model_path(order, spec.model)
    if spec.experiment is not None and not spec.overrides:
        return spec.resolved_experiment
    try:
        return spec.taught_by(load_model(path).experiment).resolved_experiment
    except InvalidSpec as error:
        raise BadInput(error.detail) from None


def _labels(context: JobContext, spec: SecondStageSpec) -> PseudoLabels:
    """The boxes, found by this attempt or an earlier one, and written down for people and other detectors."""
    path = context.run.path / FOLDER / LABELS_FILE
    if not path.exists():
        context.spool.append(NoteEvent(text="finding the model's best boxes"))
        run_as_task(find_labels, context.order, context.folder, spec.resources.model_copy(update={"num_workers": 1}))
        context.check_stop()
    labels = load_pseudo_labels(path)
    check_pseudo_labels(labels)
    train = _train_set(context.order, student_experiment(context.order, spec))
    artifacts = context.run.artifacts
    write_voc(labels, train, artifacts / VOC_FILE)
    write_coco(labels, train, artifacts / COCO_FILE)
    _draw(labels, train, artifacts / PICTURE_FILE)
    for name in (VOC_FILE, COCO_FILE, PICTURE_FILE):
        context.spool.append(FileEvent(name=name, path=artifacts / name))
    return labels


def find_labels(order: TaskOrder) -> None:
    """Load the model and find the boxes of every training image; the file is left in the job's folder.

    Raises:
        AttemptStopped: it was asked to end; what is found by then is kept.
        BadInput: the model or the data cannot be used.
    """
    spec = _spec(order.attempt)
    with in_task(order) as (context, device):
        experiment = student_experiment(order.attempt, spec)
        assert experiment.second_stage is not None  # the spec sees to it
        saved = load_model(model_path(order.attempt, spec.model))
        train = _train_set(order.attempt, experiment)
        if train.classes != saved.classes:
            raise DatasetError(
                f"the data set has the classes {', '.join(train.classes)}, the model knows {', '.join(saved.classes)}:"
                " a model finds its own classes, in their order"
            )
        proposals = compute_proposals(
            train,
            experiment.data.proposals,
            roots=_roots(order.attempt),
            processes=1,
            progress=ignore_progress,
        )
        network = saved.network.to(device)

        def scorer(images: Tensor, boxes: Tensor) -> ScoredProposals:
            return network.detect(images.to(device), (boxes.to(device),))[0]

        keeper = _Keeper(context, spec, experiment, train, saved.sha256)
        found = find_pseudo_boxes(
            scorer,
            train,
            proposals,
            experiment.second_stage.labels,
            testing=saved.experiment.evaluation,
            max_side_px=saved.experiment.data.max_side_px,
            known=keeper.begun(),
            keep=keeper.keep,
            should_stop=context.folder.stop.exists,
        )
        if found is None:
            keeper.save(BEGUN_FILE)
            raise AttemptStopped("the search for boxes was asked to stop; what is found is kept")
        keeper.keep(found)
        keeper.save(LABELS_FILE)


class _Keeper:
    """Tells how far the search is, and keeps what is found for another attempt."""

    def __init__(
        self,
        context: JobContext,
        spec: SecondStageSpec,
        experiment: ExperimentConfig,
        train: ImageSet,
        model_sha256: str,
    ) -> None:
        assert experiment.second_stage is not None
        self._context = context
        self._config = experiment.second_stage.labels
        self._total = len(train.records)
        self._classes = train.classes
        self._model_sha256 = model_sha256
        self._found: Mapping[str, PseudoBoxes] = {}
        self._told_at = self._kept_at = time.monotonic()
        self._fractions: Fractions | None = None
        if spec.train:
            test = open_annotated_set(experiment.data.source, _roots(context.order), role="test")
            self._fractions = Fractions(experiment, test_images=len(test.image_set.records), train_images=self._total)

    def begun(self) -> Mapping[str, PseudoBoxes]:
        """What an earlier attempt has found by the same model and settings."""
        with suppress(BadInput):  # there is none, or it was cut off
            kept = load_pseudo_labels(self._folder / BEGUN_FILE)
            if (kept.model_sha256, kept.config, kept.classes) == (self._model_sha256, self._config, self._classes):
                return kept.images
        return {}

    def keep(self, found: Mapping[str, PseudoBoxes]) -> None:
        self._found = found
        now = time.monotonic()
        if now - self._told_at >= TOLD_EVERY_S or len(found) in (0, self._total):
            self._told_at = now
            self._tell(len(found))
        if now - self._kept_at >= KEPT_EVERY_S:
            self._kept_at = now
            self.save(BEGUN_FILE)

    def save(self, name: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        labels = PseudoLabels(self._classes, self._model_sha256, self._config, self._found)
        save_pseudo_labels(labels, self._folder / name)

    def _tell(self, done: int) -> None:
        if self._fractions is None:
            fraction = 1 - (1 - DATA_SHARE) * (1 - done / self._total)
        else:
            part = Stage.PSEUDO_LABELS
            fraction = self._fractions.at(part.value, part, done, self._total).fraction
        self._context.spool.append(
            ProgressEvent(stage=Stage.PSEUDO_LABELS.value, step=done, stage_steps=self._total, fraction=fraction)
        )

    @property
    def _folder(self) -> Path:
        return self._context.run.path / FOLDER


def teacher_judgement(order: AttemptOrder, model: str) -> Judgement | None:
    """The teacher's figures as its training has left them; None where this version cannot read any."""
    try:
        found = parse_results(json.loads((training_files(order, model).artifacts / "results.json").read_bytes()))
    except (OSError, ValueError):  # there is none, or another version's
        return None
    return judgement_in(found)


def _keep_results(context: JobContext, results: SecondStageResults) -> None:
    artifacts = context.run.artifacts
    keep_text(context.spool, artifacts / "results.json", results.model_dump_json(indent=2))
    found = results.pseudo_labels
    values = {"pseudo_labels/images": float(found.images), "pseudo_labels/boxes": float(sum(found.boxes.values()))}
    if results.teacher is not None:
        means = judged_means(results.teacher.model_dump(mode="json"))
        values |= {f"teacher/{name.removeprefix('eval/')}": value for name, value in means.items()}
    context.spool.append(MetricsEvent(global_step=0, values=values))
    if results.student is None:
        return
    table = artifacts / "results.csv"
    write_table(results.classes, results.judgements(), table)
    context.spool.append(FileEvent(name=table.name, path=table))


def _counted(labels: PseudoLabels) -> PseudoLabelsFound:
    return PseudoLabelsFound(
        model_sha256=labels.model_sha256,
        images=len(labels.images),
        without_boxes=labels.num_without,
        boxes=dict(zip(labels.classes, labels.boxes_by_class(), strict=True)),
    )


def _draw(labels: PseudoLabels, train: ImageSet, path: Path) -> None:
    """Some training images with their boxes, evenly spread over the split."""
    shown = []
    for index in shown_images(len(train.records), PICTURED_IMAGES):
        record = train.records[index]
        found = labels.images[record.image_id]
        boxes = [
            FoundBox(labels.classes[c], float(score), (float(x1), float(y1), float(x2), float(y2)))
            for (x1, y1, x2, y2), c, score in zip(found.boxes, found.classes, found.scores, strict=True)
        ]
        shown.append((record.image_id, np.asarray(read_image(record.path)), boxes))
    predictions_page(shown, labels.classes, path, title=f"pseudo labels of {len(shown)} of {len(train.records)} images")


def _train_set(order: AttemptOrder, experiment: ExperimentConfig) -> ImageSet:
    data = experiment.data
    return open_train_set(data.source, _roots(order), labels_from_difficult=data.labels_from_difficult)


def _roots(order: AttemptOrder) -> DataRoots:
    return DataRoots(data=order.data_root, cache=order.home / "cache")
