"""What a cluster has, and whether a job's processes can ever fit into it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pydantic import BaseModel, ConfigDict

from service.jobs.base_spec import Resources, refused


@dataclass(frozen=True)
class Node:
    """One machine of a cluster."""

    cpus: float
    gpus: float

    def fitting(self, cpus: int, gpus: int) -> int:
        """How many processes that ask for so much fit onto it.

        >>> Node(cpus=8, gpus=2).fitting(3, 0), Node(cpus=8, gpus=2).fitting(1, 1)
        (2, 2)
        """
        by_cpus = int(self.cpus // cpus)
        return min(by_cpus, int(self.gpus // gpus)) if gpus else by_cpus

    @property
    def said(self) -> str:
        return f"{self.cpus:g} CPUs, {self.gpus:g} GPUs"


class Capacity(BaseModel):
    """The cluster in which a worker runs its jobs."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    nodes: tuple[Node, ...]
    grows: bool
    """whether it is shared, so that nodes may come; a worker's own has what its machine has"""

    @classmethod
    def of_machine(cls, cpus: int, gpus: int) -> Self:
        return cls(nodes=(Node(cpus=cpus, gpus=gpus),), grows=False)

    def holds(self, resources: Resources) -> bool:
        """Whether all processes of a training fit at once."""
        cpus = resources.cpus_per_worker or 1
        return rooms(self.nodes, cpus, resources.gpus_per_worker) >= resources.num_workers

    @property
    def said(self) -> str:
        """In words, for a message."""
        return said_of(self.nodes)


def doubts(resources: Resources, clusters: Sequence[Capacity | None]) -> tuple[str, ...]:
    """What to warn about before a job waits for room in one of the workers' clusters; empty: one of them has it.

    Args:
        resources: what it asks for.
        clusters: one for each worker that lives; None: it has not answered yet.

    Raises:
        InvalidSpec: none of them can ever hold it.
    """
    known = [cluster for cluster in clusters if cluster is not None]
    if not known:
        missing = "no cluster has answered yet" if clusters else "no worker is there, and the job waits until one is"
        return (f"whether there is room for the job could not be checked: {missing}",)
    if any(cluster.holds(resources) for cluster in known):
        return ()
    message = f"{asked(resources)} do not fit into any worker's cluster: {known[0].said}"
    if any(cluster.grows for cluster in known):
        return (f"resources: {message}, as things stand; the job waits for more nodes, and fails when none come",)
    raise refused("resources", f"{message}; ask for less, or run a worker on a larger machine")


def rooms(nodes: Sequence[Node], cpus: int, gpus: int) -> int:
    """How many processes that ask for so much fit at once."""
    return sum(node.fitting(cpus, gpus) for node in nodes)


def said_of(nodes: Sequence[Node]) -> str:
    return "; ".join(node.said for node in nodes) or "no node"


def asked(resources: Resources) -> str:
    """What a job asks for, in words.

    >>> asked(Resources(num_workers=2, gpus_per_worker=1))
    '2 workers with 1 CPUs and 1 GPUs each'
    """
    gpus = f" and {resources.gpus_per_worker} GPUs" if resources.gpus_per_worker else ""
    return f"{resources.num_workers} workers with {resources.cpus_per_worker or 1} CPUs{gpus} each"
