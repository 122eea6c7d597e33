"""The child's own watch over the lease: its supervisor may be stopped, and then nobody else would end it in time.

Over a pipe the supervisor tells until when the lease is held, by the clock that nobody sets and all processes of a
machine share. When that is over, or the supervisor is gone, the child ends with all that it has started.
"""

import fcntl
import logging
import math
import os
import select
import threading
import time
from typing import NoReturn

from workers.processes import MARK, SessionRecord, end_session

log = logging.getLogger(__name__)

DESCRIPTOR = "SDCN_LEASE_PIPE"
"""environment variable: the number of the pipe's end in the child"""
LEASE_OVER = os.EX_TEMPFAIL
"""exit status of a child whose lease was over"""
OTHERS_TIMEOUT_S = 2.0
"""for the child's own processes to be gone; what is left then, the next attempt's worker ends"""
_OVER = threading.Event()


class LeasePipe:
    """The supervisor's end. Any thread may use it."""

    def __init__(self) -> None:
        self.child_end, self._own_end = os.pipe()
        os.set_blocking(self._own_end, False)
        self._closed = False
        self._lock = threading.Lock()

    def tell(self, held_until_s: float) -> None:
        """Until when the lease is held, by time.monotonic(). A child that is gone, or does not listen, is let be."""
        with self._lock:
            if not self._closed:
                try:
                    os.write(self._own_end, f"{held_until_s!r}\n".encode())
                except (BlockingIOError, BrokenPipeError):
                    return

    def close(self) -> None:
        """The child, if it lives, ends."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._own_end)


def watch_lease() -> None:
    """Have this process end when its lease is over. Without a supervisor that tells of one nothing is watched."""
    descriptor = os.environ.pop(DESCRIPTOR, None)
    if descriptor is None:
        return
    pipe = int(descriptor)
    fcntl.fcntl(pipe, fcntl.F_SETFD, fcntl.FD_CLOEXEC)  # what the child starts shall not hold it
    threading.Thread(target=_watch, args=(pipe,), name="lease-watch", daemon=True).start()


def stay_if_over() -> None:
    """Call it before the last word is written: where the lease is over, the process ends here and says no more."""
    if _OVER.is_set():
        threading.Event().wait()


def _watch(pipe: int) -> NoReturn:
    held_until_s = math.inf
    unread = b""
    while True:
        left_s = None if math.isinf(held_until_s) else max(0.0, held_until_s - time.monotonic())
        if not select.select([pipe], [], [], left_s)[0]:
            _end("the lease is over: the worker has not renewed it")
        block = os.read(pipe, 4096)
        if not block:
            _end("the worker is gone")
        *told, unread = (unread + block).split(b"\n")
        if told:
            held_until_s = float(told[-1])


def _end(why: str) -> NoReturn:
    _OVER.set()  # the main thread notices when the others are killed, and would call it a failure
    try:
        log.error("%s; this attempt ends, and another may go on from its last checkpoint", why)
        end_session(SessionRecord.of(os.getpid(), os.environ.get(MARK, "")), timeout_s=OTHERS_TIMEOUT_S)
    finally:
        os._exit(LEASE_OVER)
