import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workers.ray_runtime.raylet_watch import is_lost, noted, raylet_watched

TIMEOUT_S = 30


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sdcn-") as folder:  # a socket's path must be short
        yield Path(folder) / "socket"


@contextmanager
def listening(place: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place))
        listener.listen()
        yield


@pytest.mark.parametrize("is_removed", [False, True])
def test_a_driver_that_still_waits_when_ray_has_ended_is_told(place: Path, is_removed: bool) -> None:
    lost = threading.Event()
    with listening(place):
        pass
    if is_removed:
        place.unlink()
    with raylet_watched(str(place), lost.set, look_every_s=0.01, grace_s=0.01):
        assert lost.wait(TIMEOUT_S)


def test_while_ray_lives_nobody_is_told_nor_when_the_driver_ends_by_itself(place: Path) -> None:
    lost, looked = threading.Event(), threading.Event()
    with listening(place), raylet_watched(str(place), lost.set, look_every_s=0.01, grace_s=0):
        looked.wait(0.5)
    with raylet_watched(str(place), lost.set, look_every_s=0.01, grace_s=TIMEOUT_S):
        looked.wait(0.1)
    assert not lost.is_set()


def test_a_driver_that_died_in_a_cluster_has_lost_it_if_nobody_listens_there_any_more(place: Path) -> None:
    scratch = place.parent
    assert not is_lost(scratch), "it was in none"
    kept = noted(scratch)  # as by a process that ends within the block
    note = kept.__enter__()
    assert is_lost(scratch), "it was about to enter one"
    note.write_text(str(place))
    with listening(place):
        assert not is_lost(scratch)
    assert is_lost(scratch)
    kept.__exit__(None, None, None)
    assert not is_lost(scratch), "it had left"
