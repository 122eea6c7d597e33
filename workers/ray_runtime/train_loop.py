"""What every process of a group of Ray Train runs: one rank of a training, with Ray as its surroundings."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ray import train as ray_train
from ray.train.torch import get_device

from sdcn_core.training.ranks import Ranks
from service.run_files.checkpoints import step_of
from workers.attempt_folder import write_atomically
from workers.attempt_logging import log_attempt
from workers.ray_runtime.hooks import RayHooks
from workers.study.run_log import run_log
from workers.training.lock import held
from workers.training.order import TrainingEnd, TrainingOrder
from workers.training.process import train_rank

LOCK_TIMEOUT_S = 60.0
"""a group whose driver was killed is gone long before"""


def train_loop_per_worker(config: dict[str, Any]) -> None:
    """One rank of the training, from the last checkpoint where there is one; rank 0 leaves its findings in a file."""
    order = TrainingOrder.model_validate(config)  # Ray carries it as plain JSON
    ranks = Ranks.current(get_device())
    log_attempt(order.job_id, order.attempt, run=order.run_path.name, rank=ranks.rank)
    checkpoint = ray_train.get_checkpoint()
    resumed_from = None if checkpoint is None else step_of(Path(checkpoint.path))
    with (
        run_log(order.folder.log) if order.is_of_study else nullcontext(),
        held(order.run_path / "writer.lock", timeout_s=LOCK_TIMEOUT_S) if ranks.is_first else nullcontext(),
        nullcontext(None) if checkpoint is None else checkpoint.as_directory() as directory,
    ):
        outcome = train_rank(
            order,
            hooks=RayHooks(order, ranks, resumed_from),
            ranks=ranks,
            checkpoint=None if directory is None else Path(directory),
        )
    if ranks.is_first:
        end = TrainingEnd(stopped=outcome.stopped, results=outcome.results)
        write_atomically(order.folder.findings, end.model_dump_json())
