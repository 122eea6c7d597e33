"""What a job asks for against what the cluster has: checked here, because Ray waits for the impossible for ever."""

import os
from dataclasses import dataclass
from pathlib import Path

from pyarrow.fs import FSSpecHandler, PyFileSystem
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, UserCallback

from service.checkpoint_storage import Place
from service.jobs.capacity import asked, rooms, said_of
from service.jobs.specs import Resources
from workers.errors import ClusterTooSmall, ClusterUnavailable
from workers.ray_runtime.cluster import Cluster

START_RETRIES = 2
"""Ray would try to start a worker group without end"""


@dataclass(frozen=True)
class Share:
    """What each training process gets."""

    num_workers: int
    cpus: int
    gpus: int


def share_out(resources: Resources, cluster: Cluster) -> Share:
    """The processes of a job and what each gets; without a wish, equal shares of all CPUs, one at least.

    Where OMP_NUM_THREADS is set for the worker, no share is larger: that many threads are all that the operator wants
    a process to have.

    Raises:
        ClusterTooSmall: a cluster of this worker's own, which does not grow, cannot hold them.
        ClusterUnavailable: a shared cluster cannot hold them now; nodes may be missing.
    """
    wanted, gpus = resources.num_workers, resources.gpus_per_worker
    total = int(sum(node.cpus for node in cluster.nodes))
    largest = min(total // wanted, _omp_num_threads() or total)
    candidates = [resources.cpus_per_worker] if resources.cpus_per_worker else range(max(1, largest), 0, -1)
    for cpus in candidates:
        if rooms(cluster.nodes, cpus, gpus) >= wanted:
            return Share(wanted, cpus, gpus)
    there = said_of(cluster.nodes)
    message = f"resources: {asked(resources)} do not fit into the cluster, which has {there}: ask for less"
    if cluster.is_local:
        raise ClusterTooSmall(f"{message}, or run a worker on a larger machine")
    raise ClusterUnavailable(f"{message}, or add nodes")


def _omp_num_threads() -> int | None:
    """OMP_NUM_THREADS, of a list of levels the outermost; None where it is not set, or to what OpenMP ignores too."""
    outermost = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(outermost) or None if outermost.isdecimal() else None


def study_share(resources: Resources) -> Share:
    """What each training of a study gets: one CPU a process where nothing is asked for, so that many run side by
    side.
    """
    return Share(resources.num_workers, resources.cpus_per_worker or 1, resources.gpus_per_worker)


def share_of_study(resources: Resources, cluster: Cluster) -> Share:
    """study_share, where the cluster holds at least one such training.

    Raises:
        ClusterTooSmall: a cluster of this worker's own cannot hold one.
        ClusterUnavailable: a shared cluster cannot hold one now.
    """
    return share_out(resources.model_copy(update={"cpus_per_worker": study_share(resources).cpus}), cluster)


def side_by_side(share: Share, cluster: Cluster, max_parallel: int | None) -> int:
    """How many trainings of that share the cluster holds at once, at most `max_parallel`; at least 1.

    All processes ask for the same, so room for n * num_workers of them is room for n groups wherever Ray puts them,
    and no group waits for processes while it holds others.
    """
    fitting = rooms(cluster.nodes, share.cpus, share.gpus)
    return max(1, min(fitting // share.num_workers, max_parallel or fitting))


def scaling_config(share: Share) -> ScalingConfig:
    return ScalingConfig(
        num_workers=share.num_workers,
        use_gpu=share.gpus > 0,
        resources_per_worker={"CPU": share.cpus} | ({"GPU": share.gpus} if share.gpus else {}),
    )


def run_config(storage: Place, *, checkpoints_to_keep: int, callback: UserCallback) -> RunConfig:
    """Ray keeps a run by its folder, so a later attempt finds the checkpoints of an earlier one.

    A training process that fails is not started again by Ray (max_failures 0): it could not tell a lost process from a
    diverged loss, and the queue, which can, has the one budget of attempts.
    """
    if isinstance(storage, Path):
        path, filesystem = str(storage.parent), None
    else:
        path, filesystem = storage.parent.path.rstrip("/"), PyFileSystem(FSSpecHandler(storage.fs))
    return RunConfig(
        name=storage.name,
        storage_path=path,
        storage_filesystem=filesystem,
        checkpoint_config=CheckpointConfig(num_to_keep=checkpoints_to_keep),
        failure_config=FailureConfig(max_failures=0, controller_failure_limit=START_RETRIES),
        callbacks=[callback],
    )
