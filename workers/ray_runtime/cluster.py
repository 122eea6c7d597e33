"""Connecting to Ray: a cluster of the attempt's own, or one that runs already. Never whichever happens to be there."""

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import ray

from service.jobs.capacity import Node
from workers.attempt_folder import RayOrder
from workers.errors import ClusterUnavailable
from workers.ray_runtime.environment import LOCAL, token_path
from workers.ray_runtime.raylet_watch import noted, raylet_watched

OBJECT_STORE_BYTES = 256 * 2**20
"""training passes no data through Ray; its default would reserve a third of the memory"""


@dataclass(frozen=True)
class Cluster:
    nodes: tuple[Node, ...]
    is_local: bool
    driver_job_id: str
    """Ray's own id of this connection, by which what it leaves behind is found"""


@contextmanager
def connected(order: RayOrder, scratch: Path) -> Iterator[Cluster]:
    """The cluster, connected until the end of the block; a local one starts and ends with it.

    Raises:
        ClusterUnavailable: it cannot be started or reached.
    """
    # Ray takes over SIGTERM, which here means "come to an end", not "drop everything".
    on_sigterm = signal.getsignal(signal.SIGTERM)
    is_local = order.address == LOCAL
    noting: AbstractContextManager[Path | None] = nullcontext() if is_local else noted(scratch)
    with noting as note:
        _connect(order, scratch)
        socket_name = ray._private.worker.global_worker.node.raylet_socket_name
        if note is not None:
            note.write_text(socket_name)
        with raylet_watched(socket_name):
            try:
                signal.signal(signal.SIGTERM, on_sigterm)
                job_id = ray.get_runtime_context().get_job_id()
                yield Cluster(nodes=nodes_alive(), is_local=is_local, driver_job_id=job_id)
            finally:
                ray.shutdown()


def _connect(order: RayOrder, scratch: Path) -> None:
    try:
        if order.address == LOCAL:
            _start_local(order, scratch)
        else:
            ray.init(address=order.address, log_to_driver=True)
    except (ConnectionError, RuntimeError, TimeoutError, ValueError) as error:
        raise ClusterUnavailable(
            f"Ray at {order.address!r} cannot be reached: check that it runs, and that SDCN_RAY_AUTH_MODE and the token"
            " are the cluster's"
        ) from error


def _start_local(order: RayOrder, scratch: Path) -> None:
    token = token_path(scratch)
    descriptor = os.open(token, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
    ray.init(
        address=LOCAL,
        num_cpus=order.num_cpus,
        include_dashboard=True,  # Ray's own clean-up of placement groups asks it
        dashboard_host="127.0.0.1",
        object_store_memory=OBJECT_STORE_BYTES,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(scratch / "ray"),  # below a private folder: Ray makes its own world-writable
        log_to_driver=True,
    )


def nodes_alive() -> tuple[Node, ...]:
    """The nodes of the connected cluster."""
    return tuple(_read_node(node["Resources"]) for node in ray.nodes() if node["Alive"])


def _read_node(resources: dict[str, float]) -> Node:
    return Node(cpus=resources.get("CPU", 0), gpus=resources.get("GPU", 0))
