"""The log of an attempt: each line of its child and of its training processes names the job and the attempt."""

import io
import json
import logging
import re
import sys
import threading
from contextlib import suppress
from typing import TextIO

import structlog

from service.logging import set_up_logging

log = structlog.get_logger("output")

_OF_RAY = re.compile(r"^\((?P<process>[^()]*\bpid=\d+[^()]*)\) ")
"""what Ray puts before each line that it carries here from another process"""


def log_attempt(job_id: str, attempt: int, **more: str | int) -> None:
    """Log as a process of this attempt. `more`: what else is on every line, as the rank."""
    set_up_logging(stream=sys.__stderr__, fields={"job_id": job_id, "attempt": attempt, **more})
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_no_report)


def log_output() -> None:
    """Have what this process prints logged too: Ray prints what other processes say, libraries what they like.

    What is written past Python, as by a crashing library, stays as it is.
    """
    assert sys.__stderr__ is not None
    logging.raiseExceptions = False  # on a full disk logging would tell of it on stderr, which is logged, and so on
    sys.stdout = LoggedOutput("stdout", sys.__stderr__)
    sys.stderr = LoggedOutput("stderr", sys.__stderr__)


class LoggedOutput(io.TextIOBase):
    """A text stream of which each line becomes a line of the log; a line that is one already is passed on.

    On a full disk lines are lost, and whoever prints them goes on.

    Args:
        name: of the stream, on every line.
        log_stream: where the log is written.
    """

    def __init__(self, name: str, log_stream: TextIO) -> None:
        self._name = name
        self._log_stream = log_stream
        self._begun = ""
        self._lock = threading.Lock()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        return self._log_stream.fileno()  # where a crash is told, and what a process of ours inherits

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._log(line.rpartition("\r")[2].rstrip())  # of a progress bar the last it said
        return len(text)

    def _log(self, line: str) -> None:
        prefix = _OF_RAY.match(line)
        said = line if prefix is None else line[prefix.end() :]
        if not said.strip():
            return
        if _is_log_line(said):
            with suppress(OSError):
                self._log_stream.write(f"{said}\n")
                self._log_stream.flush()
            return
        process = {} if prefix is None else {"process": prefix["process"]}
        log.info(said, stream=self._name, **process)


def _is_log_line(text: str) -> bool:
    if not text.startswith("{"):
        return False
    try:
        line = json.loads(text)
    except ValueError:
        return False
    return isinstance(line, dict) and {"event", "job_id", "attempt"} <= line.keys()


def _is_no_report(record: logging.LogRecord) -> bool:
    """Ray prints every report whole, under a logger that is named after a file and not by its settings."""
    return not record.msg.startswith("Reporting training result") if isinstance(record.msg, str) else True
