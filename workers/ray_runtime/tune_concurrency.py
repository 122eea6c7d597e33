"""How many trials of a sweep the cluster holds side by side, so that none waits for room that another trial holds."""

from dataclasses import dataclass

from service.jobs.base_spec import Resources
from workers.ray_runtime.cluster import Cluster, Node
from workers.ray_runtime.resources import Share, share_out


@dataclass(frozen=True)
class TrialShares:
    share: Share
    """what each trial gets"""
    concurrent: int
    """trials side by side, at least 1"""


def trials_side_by_side(resources: Resources, cluster: Cluster, max_parallel: int | None) -> TrialShares:
    """What each trial gets, and how many fit.

    All processes of all trials ask for the same, so whatever Ray puts where, room for n * num_workers processes is room
    for n trials. Trials of several workers are driven from processes that hold no CPU: a driver that did could take the
    room of its own workers.

    Raises:
        ClusterTooSmall: not even one trial will ever fit.
        ClusterUnavailable: not even one fits now, into a cluster that may grow.
    """
    one_cpu = resources.model_copy(update={"cpus_per_worker": resources.cpus_per_worker or 1})
    share = share_out(one_cpu, cluster)
    fitting = sum(_room(node, share) for node in cluster.nodes) // share.num_workers
    return TrialShares(share, min(fitting, max_parallel or fitting))


def _room(node: Node, share: Share) -> int:
    """Processes that the node holds."""
    by_cpus = int(node.cpus // share.cpus)
    return min(by_cpus, int(node.gpus // share.gpus)) if share.gpus else by_cpus
