"""One training on Ray Train, from the driver's side: connect, check, fit, read what the first rank found."""

import json
from typing import Any

from ray.train import TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer

from workers.attempt_folder import AttemptFolder, AttemptOrder
from workers.errors import TrainingProcessLost
from workers.ray_runtime.cluster import connected
from workers.ray_runtime.failures import translated
from workers.ray_runtime.reporting import SpoolCallback
from workers.ray_runtime.resources import run_config, scaling_config, share_out
from workers.ray_runtime.run_storage import mend_snapshot
from workers.ray_runtime.train_loop import LoopOrder, train_loop_per_worker

COLLECTIVE_TIMEOUT_S = 1800
"""a rank that waits longer for the others gives up; judging a large split on one rank takes minutes"""


def fit(order: AttemptOrder, folder: AttemptFolder) -> dict[str, Any] | None:
    """Train, on the main thread only (Ray's handler of SIGINT needs it); the results, or None when asked to stop.

    Raises:
        SdcnError: what a training process raised on purpose.
        WorkerError: the cluster is too small, unreachable, or lost a process.
    """
    with connected(order.ray, order.scratch) as cluster:
        folder.ray_job.write_text(cluster.driver_job_id)
        share = share_out(order.spec.resources, cluster)
        mend_snapshot(folder.run_path)
        trainer = TorchTrainer(
            train_loop_per_worker,
            train_loop_config=LoopOrder(attempt=order, cpus=share.cpus).model_dump(mode="json"),
            torch_config=TorchConfig(timeout_s=COLLECTIVE_TIMEOUT_S),
            scaling_config=scaling_config(share),
            run_config=run_config(
                folder.run_path,
                checkpoints_to_keep=order.ray.checkpoints_to_keep,
                callback=SpoolCallback(folder.events, folder.run_path),
            ),
        )
        try:
            trainer.fit()
        except TrainingFailedError as error:
            raise translated(error) from error
    try:
        found: dict[str, Any] | None = json.loads(folder.findings.read_bytes())
    except (FileNotFoundError, ValueError):
        raise TrainingProcessLost("training ended without saying what it found") from None
    return found
