"""The log of one run of a study: what its processes log and print, in a file of the run's own besides the job's."""

import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

from workers.log_bound import LogBound

CHECKED_LINES = 1000
"""after so many lines the file's size is looked at again"""


@contextmanager
def run_log(path: Path) -> Iterator[None]:
    """Within it, this process's log and what it prints are appended to the file too.

    Several processes of the run may append to one file: each line is one write. A disk that is full costs lines here
    and nothing else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    root = logging.getLogger()
    with _Lines(path) as lines:
        handler = logging.StreamHandler(lines)
        handler.setLevel(logging.INFO)
        for known in root.handlers[:1]:  # a line looks alike in both places
            handler.setFormatter(known.formatter)
        root.addHandler(handler)
        try:
            with redirect_stdout(_Tee(sys.stdout, lines)), redirect_stderr(_Tee(sys.stderr, lines)):
                yield
        finally:
            root.removeHandler(handler)


class _Lines(io.TextIOBase):
    """Appends whole lines to a file, bounded, and never fails."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._bound = LogBound(path)
        self._lock = threading.Lock()
        self._begun = ""
        self._since_checked = 0

    def write(self, text: str) -> int:
        with self._lock:
            lines, newline, self._begun = (self._begun + text).rpartition("\n")
            self._append(lines + newline)
        return len(text)

    def close(self) -> None:
        with self._lock:
            if not self.closed:
                self._append(self._begun)
                os.close(self._descriptor)
            super().close()

    def _append(self, text: str) -> None:
        if not text or self.closed:  # a thread that still writes
            return
        with suppress(OSError):  # the disk is full
            os.write(self._descriptor, text.encode(errors="backslashreplace"))
            self._since_checked += text.count("\n")
            if self._since_checked >= CHECKED_LINES:
                self._since_checked = 0
                self._bound.keep()


class _Tee(io.TextIOBase):
    """A stream that is written to two."""

    def __init__(self, first: TextIO, second: io.TextIOBase) -> None:
        self._first = first
        self._second = second

    def write(self, text: str) -> int:
        self._second.write(text)
        return self._first.write(text)

    def flush(self) -> None:
        self._second.flush()
        self._first.flush()

    def fileno(self) -> int:
        return self._first.fileno()

    def isatty(self) -> bool:
        return False
