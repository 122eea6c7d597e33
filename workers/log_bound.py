"""Keeps the log of a talkative attempt from filling the disk: its middle is dropped, its beginning and its end stay.

The processes that write it hold the file open and only append, so nothing can be moved. A hole is punched in its place:
the blocks go back to the file system, and every byte that stays keeps its offset, by which readers know where they are.
"""

import ctypes
import errno
import os
from pathlib import Path

import structlog

log = structlog.get_logger()

HEAD_BYTES = 1024 * 1024
"""of the beginning, which says how everything was set up"""
TAIL_BYTES = 32 * 1024 * 1024
"""of the end, which says why it ended"""
SLACK_BYTES = 4 * 1024 * 1024
"""by which the log may grow before the next look at what can go"""
BLOCK_BYTES = 64 * 1024
"""holes begin and end at multiples of this"""
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_FALLOCATE = ctypes.CDLL(None, use_errno=True).fallocate
_FALLOCATE.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


class LogBound:
    """Bounds one file. Call `keep` now and then; the file need not be there yet."""

    def __init__(
        self,
        path: Path,
        *,
        head_bytes: int = HEAD_BYTES,
        tail_bytes: int = TAIL_BYTES,
        slack_bytes: int = SLACK_BYTES,
    ) -> None:
        self._path = path
        self._dropped_to = head_bytes
        self._tail_bytes = tail_bytes
        self._slack_bytes = slack_bytes
        self._is_possible = True

    def keep(self) -> None:
        """Drop what lies between the beginning and the end, if it has become much."""
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            return
        end = (size - self._tail_bytes) // BLOCK_BYTES * BLOCK_BYTES
        if self._is_possible and end - self._dropped_to >= self._slack_bytes:
            self._is_possible = _punch(self._path, self._dropped_to, end)
            self._dropped_to = end


def _punch(path: Path, begin: int, end: int) -> bool:
    """Whether the file system can do it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if _FALLOCATE(descriptor, _PUNCH_HOLE | _KEEP_SIZE, begin, end - begin) == 0:
            log.info("log.dropped", path=str(path), bytes=end - begin)
            return True
        number = ctypes.get_errno()
    finally:
        os.close(descriptor)
    log.warning("log.not_bounded", path=str(path), reason=errno.errorcode.get(number, str(number)))
    return False
