"""Notices that Ray's process on this machine, by which a driver reaches its cluster, is gone.

Ray tells a driver in most cases. But a driver whose head was killed and started anew may wait for an answer that nobody
gives, or be ended by Ray on the spot. Imports no Ray.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

RAY_LOST = os.EX_UNAVAILABLE
"""exit status of an attempt whose driver Ray had left waiting"""
LOOK_EVERY_S = 10.0
"""each look is a line of that process's log"""
GRACE_S = 30.0
"""for Ray to tell the driver by itself"""
CONNECT_TIMEOUT_S = 5.0
NOTE = "raylet"
"""file in an attempt's scratch folder: the socket, or nothing yet, while its driver uses a shared cluster"""


def leave() -> None:
    """End the process at once, as nothing that waits for Ray returns."""
    log.error("Ray's process on this machine is gone; this attempt ends, and another goes on from its last checkpoint")
    os._exit(RAY_LOST)


@contextmanager
def raylet_watched(
    socket_name: str,
    on_lost: Callable[[], None] = leave,
    *,
    look_every_s: float = LOOK_EVERY_S,
    grace_s: float = GRACE_S,
) -> Iterator[None]:
    """Call `on_lost`, on a thread of its own, where the block has not ended within the grace after Ray's process did.

    Args:
        socket_name: path of the socket at which that process listens; another one never takes its place.
        on_lost: is called once.
        look_every_s: between two looks.
        grace_s: between the look that finds nobody and the call.
    """
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(look_every_s):
            if not _listens(socket_name):
                if not ended.wait(grace_s):
                    on_lost()
                return

    threading.Thread(target=watch, name="raylet-watch", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


@contextmanager
def noted(scratch: Path) -> Iterator[Path]:
    """The file to write the socket's name to; it is there during the block alone, and when that never ended."""
    note = scratch / NOTE
    note.touch()
    try:
        yield note
    finally:
        note.unlink(missing_ok=True)


def is_lost(scratch: Path) -> bool:
    """Whether a driver that died left a shared cluster that was lost, or was about to enter one."""
    try:
        socket_name = (scratch / NOTE).read_text()
    except FileNotFoundError:
        return False
    return not socket_name or not _listens(socket_name)


def _listens(socket_name: str) -> bool:
    """Whether somebody listens; one who is too busy to take the connection does."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(CONNECT_TIMEOUT_S)
        try:
            caller.connect(socket_name)
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:
            return True
    return True
