"""One writer for a folder: whoever comes next waits for the one before to end."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.errors import FolderHeld

PAUSE_S = 0.1


@contextmanager
def held(path: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the lock file until the end of the block. The kernel lets go of it when the holder dies.

    Raises:
        FolderHeld: somebody else held it all the time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise FolderHeld(
                        f"{path.parent} is still being written by a process of an earlier attempt, {timeout_s:g} s"
                        " after this one began: end that process, or wait for it"
                    ) from None
                time.sleep(PAUSE_S)
        yield
    finally:
        os.close(descriptor)
