"""One training as a group of processes of Ray Train, from the driver's side: fit, read what the first rank found."""

from pydantic import ValidationError
from ray.exceptions import RayError
from ray.train import TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer

from service.checkpoint_storage import Place
from workers.errors import TrainingProcessLost
from workers.ray_runtime.failures import translated
from workers.ray_runtime.reporting import SpoolCallback
from workers.ray_runtime.resources import Share, run_config, scaling_config
from workers.ray_runtime.run_storage import mend_snapshot
from workers.ray_runtime.train_loop import train_loop_per_worker
from workers.training.order import TrainingEnd, TrainingOrder

COLLECTIVE_TIMEOUT_S = 1800
"""a rank that waits longer for the others gives up; judging a large split on one rank takes minutes"""


def fit(order: TrainingOrder, *, storage: Place) -> TrainingEnd:
    """Train, in a process that is connected to Ray, on its main thread only (Ray's handler of SIGINT needs it).

    Args:
        order: the training; its attempt's folder is there.
        storage: the folder in which Ray keeps the checkpoints, the same in each attempt.

    Raises:
        SdcnError: what a training process raised on purpose.
        WorkerError: Ray cannot start the group, or a process of it is lost.
        CheckpointsUnavailable: the storage is a store that does not answer.
    """
    mend_snapshot(storage)
    order.folder.findings.unlink(missing_ok=True)
    trainer = TorchTrainer(
        train_loop_per_worker,
        train_loop_config=order.model_dump(mode="json", include=set(TrainingOrder.model_fields)),
        torch_config=TorchConfig(timeout_s=COLLECTIVE_TIMEOUT_S),
        scaling_config=scaling_config(Share(order.num_workers, order.cpus, order.gpus)),
        run_config=run_config(
            storage,
            checkpoints_to_keep=order.checkpoints_to_keep,
            callback=SpoolCallback(order.folder.events, storage),
        ),
    )
    try:
        trainer.fit()
    except (TrainingFailedError, RayError) as error:  # the latter where Ray itself was lost
        raise translated(error) from error
    try:
        return TrainingEnd.model_validate_json(order.folder.findings.read_bytes())
    except (FileNotFoundError, ValidationError):
        raise TrainingProcessLost("training ended without saying what it found") from None
