"""One batch prediction: a folder of images through a trained model, in a task of Ray's. Goes on where it was left."""

import json

from sdcn_core.data.datasets import confined_folder
from sdcn_core.errors import DatasetError
from sdcn_core.inference.folder import FolderOutcome, predict_folder
from sdcn_core.inference.predictor import Predictor
from service.jobs.inference_specs import PredictSpec
from service.jobs.study_results import PredictResults
from workers.attempt_folder import Succeeded
from workers.errors import AttemptStopped
from workers.executors.base import JobContext
from workers.executors.trained_model import in_task, model_path
from workers.ray_runtime.one_task import TaskOrder, run_as_task
from workers.spool import FileEvent, MetricsEvent, NoteEvent, ProgressEvent
from workers.training.events import keep_files
from workers.training.result_files import keep_text

STAGE = "predict"
FOLDER = "predictions"
"""below the job's folder: what is done, image by image, also for the next attempt"""
MAX_BROKEN_TOLD = 100


def predict(context: JobContext) -> Succeeded:
    """See JobExecutor."""
    order = context.order
    spec = order.spec
    assert isinstance(spec, PredictSpec)
    model_path(order, spec.model)
    if not confined_folder(order.data_root, spec.folder, field="folder").is_dir():  # before a process is started for it
        raise DatasetError(f"folder: there is no {spec.folder!r} below the data root {order.data_root}")
    context.spool.append(NoteEvent(text="loading the model"))
    results = run_as_task(predict_images, order, context.folder, spec.resources)
    artifacts = context.run.artifacts
    keep_text(context.spool, artifacts / "results.json", results.model_dump_json(indent=2))
    return Succeeded(
        results=json.loads(results.model_dump_json()),
        artifacts={path.name: path for path in sorted(artifacts.iterdir()) if not path.name.startswith(".")},
    )


def predict_images(order: TaskOrder) -> PredictResults:
    """Load the model and predict the folder; boxes are left among the artifacts.

    Raises:
        AttemptStopped: it was asked to end.
        BadInput: the model or the folder cannot be used.
    """
    spec = order.attempt.spec
    assert isinstance(spec, PredictSpec)
    with in_task(order) as (context, device):
        predictor = Predictor.load(model_path(order.attempt, spec.model), device=device)

        def progress(done: int, total: int) -> None:
            fraction = done / total if total else 1.0
            context.spool.append(ProgressEvent(stage=STAGE, step=done, stage_steps=total, fraction=fraction))

        outcome = predict_folder(
            predictor,
            order.attempt.data_root / spec.folder,
            out=context.run.path / FOLDER,
            score_threshold=spec.score_threshold,
            max_boxes=spec.max_boxes,
            fast=spec.fast,
            progress=progress,
            should_stop=context.folder.stop.exists,
        )
        if outcome.stopped:
            raise AttemptStopped(f"the prediction was asked to stop; {outcome.images} images are done and kept")
        return _kept(context, spec, outcome)


def _kept(context: JobContext, spec: PredictSpec, outcome: FolderOutcome) -> PredictResults:
    for name, path in keep_files(outcome.files, context.run.artifacts).items():
        context.spool.append(FileEvent(name=name, path=path))
    values = {"predict/images": float(outcome.images), "predict/boxes": float(outcome.boxes)}
    if outcome.seconds_per_image is not None:
        values["predict/seconds_per_image"] = outcome.seconds_per_image
    context.spool.append(MetricsEvent(global_step=0, values=values))
    return PredictResults(
        model=spec.model,
        images=outcome.images,
        broken=outcome.broken[:MAX_BROKEN_TOLD],
        boxes=outcome.boxes,
        seconds_per_image=outcome.seconds_per_image,
        seconds_per_image_p95=outcome.seconds_per_image_p95,
    )
