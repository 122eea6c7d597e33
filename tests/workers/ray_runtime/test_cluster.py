from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from workers.attempt_folder import RayOrder
from workers.ray_runtime import cluster
from workers.ray_runtime.raylet_watch import NOTE, is_lost


@pytest.mark.parametrize(("address", "noted"), [("host:6379", True), ("local", False)])
def test_rays_process_is_watched_and_noted_where_it_outlives_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, noted: bool
) -> None:
    watched: list[str] = []

    @contextmanager
    def watching(socket_name: str) -> Iterator[None]:
        watched.append(socket_name)
        yield

    node = SimpleNamespace(raylet_socket_name="/socket")
    ray = SimpleNamespace(
        _private=SimpleNamespace(worker=SimpleNamespace(global_worker=SimpleNamespace(node=node))),
        get_runtime_context=lambda: SimpleNamespace(get_job_id=lambda: "01000000"),
        nodes=list,
        shutdown=lambda: None,
    )
    monkeypatch.setattr(cluster, "ray", ray)
    monkeypatch.setattr(cluster, "_connect", lambda *_: None)
    monkeypatch.setattr(cluster, "raylet_watched", watching)
    order = RayOrder(address=address, auth_mode="token", start_timeout_s=1, num_cpus=1, checkpoints_to_keep=1)
    with cluster.connected(order, tmp_path):
        assert watched == ["/socket"]
        assert (tmp_path / NOTE).exists() == noted
        assert not noted or (tmp_path / NOTE).read_text() == "/socket"
    assert not is_lost(tmp_path)
