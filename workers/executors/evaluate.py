"""One evaluation: the data set made ready in this process, then the model judged on it in a task of Ray's."""

import json
import os
from pathlib import Path

import torch

from sdcn_core.config.data import DataConfig
from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.data.class_masks import check_masks
from sdcn_core.data.datasets import DataRoots, open_annotated_set, prepare_source
from sdcn_core.data.image_set import AnnotatedSet
from sdcn_core.data.proposals import compute_proposals
from sdcn_core.errors import BadInput, DatasetError
from sdcn_core.models.saved import MODEL_FILE, SavedModel, load_model
from sdcn_core.training.inputs import RunInputs, ignore_progress
from sdcn_core.training.judging import Judge, judged_metrics, results_by_class
from sdcn_core.training.plan import DATA_SHARE
from sdcn_core.training.progress import Stage
from sdcn_core.training.ranks import Ranks
from service.errors import InvalidSpec
from service.jobs.inference_specs import EvaluateSpec
from service.jobs.results import Judgement
from service.jobs.study_results import EvaluateResults
from workers.attempt_folder import AttemptFolder, AttemptOrder, Succeeded
from workers.executors.base import JobContext
from workers.executors.data import DataProgress
from workers.executors.trained_model import in_task, keep_checkpoint_as_model, model_path
from workers.ray_runtime.one_task import TaskOrder, run_as_task
from workers.spool import FileEvent, MetricsEvent, NoteEvent, ProgressEvent
from workers.training.events import keep_files
from workers.training.result_files import keep_text

NUM_PARTS = 4
"""of stage `data`: the data set, the masks of the test split, the proposals of either split"""


def evaluate(context: JobContext) -> Succeeded:
    """See JobExecutor."""
    order = context.order
    spec = order.spec
    assert isinstance(spec, EvaluateSpec)
    step = take_checkpoint(context, spec)
    saved = load_model(_judged_file(order, context.folder, spec))
    experiment = judged_experiment(spec, saved.experiment)
    keep_text(context.spool, context.run.artifacts / "config.json", experiment.model_dump_json(indent=2))
    hands_in = experiment.evaluation.coco or experiment.evaluation.comp4 is not None
    prepare_judged_data(context, experiment.data, saved.classes, hands_in=hands_in)
    context.check_stop()
    context.spool.append(NoteEvent(text="judging the model"))
    results = run_as_task(judge_model, order, context.folder, spec.resources).model_copy(update={"checkpoint": step})
    keep_text(context.spool, context.run.artifacts / "results.json", results.model_dump_json(indent=2))
    artifacts = context.run.artifacts
    return Succeeded(
        results=json.loads(results.model_dump_json()),
        artifacts={path.name: path for path in sorted(artifacts.iterdir()) if not path.name.startswith(".")},
    )


def take_checkpoint(context: JobContext, spec: EvaluateSpec) -> int | None:
    """Keep the checkpoint that shall be judged as a model in the attempt's folder; its step, None: none was asked for.

    A training at work removes old ones, so it is copied before anything that takes time.

    Raises:
        BadInput: there is no such checkpoint, or it cannot be read.
    """
    if spec.checkpoint is None:
        return None
    context.folder.work.mkdir(parents=True, exist_ok=True)
    path = context.folder.work / MODEL_FILE
    step = keep_checkpoint_as_model(context.order, spec.model, spec.checkpoint, path)
    context.spool.append(NoteEvent(text=f"judging the checkpoint of step {step}"))
    return step


def _judged_file(order: AttemptOrder, folder: AttemptFolder, spec: EvaluateSpec) -> Path:
    return model_path(order, spec.model) if spec.checkpoint is None else folder.work / MODEL_FILE


def judged_experiment(spec: EvaluateSpec, trained: ExperimentConfig) -> ExperimentConfig:
    """The model's experiment with the data and settings that it shall be judged on.

    Raises:
        BadInput: they do not fit together; the message names the field.
    """
    try:
        return spec.judged(trained)
    except InvalidSpec as error:
        raise BadInput(error.detail) from None


def prepare_judged_data(
    context: JobContext, data: DataConfig, classes: tuple[str, ...], *, hands_in: bool = False
) -> None:
    """Stage `data`: unlike a training, a split may lack a class.

    Args:
        context: of the job.
        data: what is judged on.
        classes: those of the model.
        hands_in: whether detections are kept as a server takes them, so that nothing need be known of the test split.

    Raises:
        DatasetError: the data set is missing, broken, has no object that counts, or other classes than the model.
        AttemptStopped: it was asked to end; what is cached by then stays.
    """
    roots = _roots(context.order)
    report = DataProgress(context, parts=NUM_PARTS)
    prepare_source(data.source, roots, progress=report.part("making the data set ready"))
    test, train = _judged_sets(data, roots)
    if test.image_set.classes != classes:
        raise DatasetError(
            f"the data set has the classes {', '.join(test.image_set.classes)}, the model knows {', '.join(classes)}: a"
            " model is judged on its own classes, in their order"
        )
    if test.has_nothing_to_find:
        raise DatasetError(
            f"split {test.image_set.name!r} has no object that counts, so nothing could be judged: name another as"
            " ap_split"
        )
    if test.is_unknown and not hands_in:
        raise DatasetError(
            f"split {test.image_set.name!r} has neither boxes nor labels, so nothing could be judged: name another as"
            " ap_split, or have its detections kept for a server by evaluation.comp4 or evaluation.coco"
        )
    check_masks(test, progress=report.part(f"reading the masks of split {test.image_set.name}"))
    processes = len(os.sched_getaffinity(0))
    for judged in (test, train):
        progress = report.part(f"computing proposals of split {judged.image_set.name}")
        compute_proposals(judged.image_set, data.proposals, roots=roots, processes=processes, progress=progress)


def judge_model(order: TaskOrder) -> EvaluateResults:
    """Load the model and judge it; its pictures and curves are left among the artifacts.

    Raises:
        AttemptStopped: it was asked to end.
        BadInput: the model or the data cannot be used.
    """
    spec = order.attempt.spec
    assert isinstance(spec, EvaluateSpec)
    with in_task(order) as (context, device):
        saved = load_model(_judged_file(order.attempt, context.folder, spec))
        experiment = judged_experiment(spec, saved.experiment)
        inputs = _inputs(experiment.data, _roots(order.attempt))
        return _judge(context, spec, saved, Judge(experiment, inputs, Ranks(0, 1, device)), inputs, device=device)


def _judge(
    context: JobContext, spec: EvaluateSpec, saved: SavedModel, judge: Judge, inputs: RunInputs, *, device: torch.device
) -> EvaluateResults:
    def tick(done: int) -> bool:
        context.check_stop()
        fraction = 1 - (1 - DATA_SHARE) * (1 - done / judge.num_images)
        context.spool.append(
            ProgressEvent(stage=Stage.EVALUATE.value, step=done, stage_steps=judge.num_images, fraction=fraction)
        )
        return False

    verdict = judge.trained(saved.network.to(device), corloc=True, tick=tick)
    assert verdict is not None  # tick never says stop: it raises
    work = context.folder.work
    work.mkdir(parents=True, exist_ok=True)
    for name, path in keep_files(judge.keep(verdict, work), context.run.artifacts).items():
        context.spool.append(FileEvent(name=name, path=path))
    judged = results_by_class(verdict.report)
    context.spool.append(MetricsEvent(global_step=0, values=judged_metrics(judged)))
    return EvaluateResults(
        model=spec.model,
        classes=inputs.classes,
        ap_split=inputs.test.image_set.name,
        corloc_split=inputs.judged_train.image_set.name,
        judgement=Judgement.model_validate(judged),
    )


def _inputs(data: DataConfig, roots: DataRoots) -> RunInputs:
    """The judged splits, with proposals from the cache."""
    test, train = _judged_sets(data, roots)
    proposals = {
        judged.image_set.name: compute_proposals(
            judged.image_set, data.proposals, roots=roots, processes=1, progress=ignore_progress
        )
        for judged in (test, train)
    }
    return RunInputs(
        train=train.image_set,
        judged_train=train,
        test=test,
        train_proposals=proposals[train.image_set.name],
        test_proposals=proposals[test.image_set.name],
    )


def _judged_sets(data: DataConfig, roots: DataRoots) -> tuple[AnnotatedSet, AnnotatedSet]:
    """The split for AP and the one for CorLoc."""
    return open_annotated_set(data.source, roots, role="test"), open_annotated_set(data.source, roots, role="train")


def _roots(order: AttemptOrder) -> DataRoots:
    return DataRoots(data=order.data_root, cache=order.home / "cache")
