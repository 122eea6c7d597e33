"""A piece of work as one Ray task, so that its CPUs and GPUs are counted beside everybody else's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import ray
from pydantic import BaseModel, ConfigDict

from service.jobs.base_spec import Resources
from workers.attempt_folder import AttemptFolder, AttemptOrder
from workers.attempt_logging import log_attempt
from workers.ray_runtime.cluster import connected
from workers.ray_runtime.failures import translated
from workers.ray_runtime.resources import share_out

EndT = TypeVar("EndT")


class TaskOrder(BaseModel):
    """What the task is told; Ray carries it to the process that the task runs in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempt: AttemptOrder
    folder: Path
    """of the attempt"""
    cpus: int
    """threads that it may use"""
    gpus: int


def run_as_task(
    work: Callable[[TaskOrder], EndT], order: AttemptOrder, folder: AttemptFolder, resources: Resources
) -> EndT:
    """Do the work in a process of Ray's; what it returns. The work looks for the attempt's stop file itself.

    Raises:
        SdcnError: what the work raised on purpose.
        WorkerError: likewise; or the cluster is too small, unreachable, or lost the process.
    """
    with connected(order.ray, order.scratch) as cluster:
        folder.ray_job.write_text(cluster.driver_job_id)
        share = share_out(resources, cluster)
        task_order = TaskOrder(attempt=order, folder=folder.path, cpus=share.cpus, gpus=share.gpus)
        room: dict[str, Any] = {"num_cpus": share.cpus, "num_gpus": share.gpus, "max_retries": 0}
        task = ray.remote(_logged).options(name=order.spec.kind, **room).remote(work, task_order)
        try:
            end: EndT = ray.get(task)
        except Exception as error:
            cause = translated(error)
            if cause is error:
                raise
            raise cause from error
    return end


def _logged(work: Callable[[TaskOrder], EndT], order: TaskOrder) -> EndT:
    log_attempt(order.attempt.job_id, order.attempt.attempt)
    return work(order)
