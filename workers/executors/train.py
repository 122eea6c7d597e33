"""One training: its data made ready in this process, then the trainer on Ray, then what it found written down."""

import json
import logging
from pathlib import Path

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.errors import SdcnError
from sdcn_core.models.saved import MODEL_FILE
from sdcn_core.training.plan import check_world_size
from service.jobs.base_spec import Resources
from service.jobs.results import TrainResults
from service.jobs.train_spec import TrainSpec
from workers.attempt_folder import Succeeded
from workers.errors import AttemptStopped
from workers.executors.base import JobContext
from workers.executors.data import prepare_data
from workers.ray_runtime.cluster import connected
from workers.ray_runtime.fit import fit
from workers.ray_runtime.resources import Share, share_out
from workers.reporting.train import write_train_report
from workers.spool import FileEvent, NoteEvent
from workers.training.order import TrainingOrder
from workers.training.result_files import keep_results, keep_text

log = logging.getLogger(__name__)


def train(context: JobContext) -> Succeeded:
    """See JobExecutor."""
    spec = context.order.spec
    assert isinstance(spec, TrainSpec)
    artifacts = context.run.artifacts
    experiment = spec.resolved_experiment
    keep_text(context.spool, artifacts / "config.json", experiment.model_dump_json(indent=2))
    check_world_size(experiment, spec.resources.num_workers)

    prepare_data(context, experiment.data)
    context.check_stop()
    results = train_on_ray(context, experiment, spec.resources)
    keep_results(context.spool, artifacts, results)
    if spec.export:
        export(context)
    report = write_train_report(results, job_id=context.order.job_id, spec=spec, run_path=context.run.path)
    for name, path in report.items():
        context.spool.append(FileEvent(name=name, path=path))
    return Succeeded(
        results=json.loads(results.model_dump_json()),
        artifacts={path.name: path for path in sorted(artifacts.iterdir()) if not path.name.startswith(".")},
    )


def train_on_ray(
    context: JobContext, experiment: ExperimentConfig, resources: Resources, *, pseudo_labels: Path | None = None
) -> TrainResults:
    """What a training with its data ready found, in processes of Ray's.

    Raises:
        AttemptStopped: it was asked to end; its checkpoint is kept.
        SdcnError: what a training process raised on purpose.
        WorkerError: Ray cannot start the processes, or lost one.
    """
    context.spool.append(NoteEvent(text="starting the training processes"))
    order = context.order
    with connected(order.ray, order.scratch) as cluster:
        context.folder.ray_job.write_text(cluster.driver_job_id)
        share = share_out(resources, cluster)
        end = fit(
            _training_order(context, experiment, share, pseudo_labels), storage=order.storage.of(context.run.path)
        )
    if end.stopped:
        raise AttemptStopped("the training was asked to stop; its checkpoint is kept")
    return TrainResults.model_validate(end.results)


def _training_order(
    context: JobContext, experiment: ExperimentConfig, share: Share, pseudo_labels: Path | None
) -> TrainingOrder:
    order = context.order
    return TrainingOrder(
        experiment=experiment,
        pseudo_labels=pseudo_labels,
        run_path=context.run.path,
        attempt=order.attempt,
        stop=context.folder.stop,
        home=order.home,
        data_root=order.data_root,
        weights_root=order.weights_root,
        num_workers=share.num_workers,
        cpus=share.cpus,
        gpus=share.gpus,
        checkpoints_to_keep=order.ray.checkpoints_to_keep,
        checkpoints_url=order.checkpoints_url,
    )


def export(context: JobContext) -> None:
    """Write the trained detector in the forms that other programs read. A failure is told, and costs nothing more: the
    model itself is there.
    """
    from sdcn_core.export.exporting import export_model  # onnx takes seconds to import

    artifacts = context.run.artifacts
    context.spool.append(NoteEvent(text="exporting the model"))
    try:
        files = export_model(artifacts / MODEL_FILE, artifacts)
    except Exception as error:
        log.exception("the model was not exported")
        reason = str(error) if isinstance(error, SdcnError) else type(error).__name__
        context.spool.append(NoteEvent(text=f"the model was not exported: {reason}"))
        return
    for name, path in files.items():
        context.spool.append(FileEvent(name=name, path=path))
