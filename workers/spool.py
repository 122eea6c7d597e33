"""The spool: what a running attempt says, one JSON object a line, appended to a file.

Training never waits for the database or for MLflow: it appends here, and the supervisor and the tracking thread read at
their own pace, each from its own byte offset. Several processes append to one file (the driver, Ray's controller):
every line is one `write` on a descriptor opened with O_APPEND, which Linux does not interleave on a local file system.
"""

import errno
import logging
import os
import time
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

log = structlog.get_logger()

MAX_LINE_BYTES = 256 * 1024
"""a longer line is a mistake: file contents belong into files"""

STUDY = "study"
"""the stage of a job of many runs; its steps are runs that have ended"""


class EventKind(StrEnum):
    BEGUN = "begun"
    PROGRESS = "progress"
    METRICS = "metrics"
    FILE = "file"
    RESUMED = "resumed"
    NOTE = "note"


class _Event(BaseModel):
    # NaN and infinities are what a diverging loss looks like: they must arrive, so JSON's constants are allowed.
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="constants")

    time_ms: int = Field(default_factory=lambda: time.time_ns() // 1_000_000)
    """milliseconds since 1970 in UTC, taken where the event arose; a second reading of the spool sees the same time"""


class BegunEvent(_Event):
    """The child has come so far that it works: the first word of every attempt."""

    kind: Literal[EventKind.BEGUN] = EventKind.BEGUN


class ProgressEvent(_Event):
    kind: Literal[EventKind.PROGRESS] = EventKind.PROGRESS
    stage: str
    step: int
    stage_steps: int
    fraction: float
    """of the whole run, in [0, 1]"""
    global_step: int = 0
    """optimizer steps over all stages"""


class MetricsEvent(_Event):
    kind: Literal[EventKind.METRICS] = EventKind.METRICS
    global_step: int
    values: Mapping[str, float]


class FileEvent(_Event):
    kind: Literal[EventKind.FILE] = EventKind.FILE
    name: str
    """as it shall appear among the run's artifacts"""
    path: Path


class ResumedEvent(_Event):
    """Training goes on from a checkpoint that was written at this step."""

    kind: Literal[EventKind.RESUMED] = EventKind.RESUMED
    global_step: int


class NoteEvent(_Event):
    """A sentence for whoever follows the job; it stands in the log too."""

    kind: Literal[EventKind.NOTE] = EventKind.NOTE
    text: str


Event = BegunEvent | ProgressEvent | MetricsEvent | FileEvent | ResumedEvent | NoteEvent
EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="kind")])


class EventSpool:
    """Appends events to a file; any number of processes may hold one on the same file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._noted: str | None = None
        self._cut = False
        """whether the file ends in a piece of a line, for which the disk had no more room"""

    def append(self, event: Event) -> None:
        """Write one line. After an error it may be tried again: of what was cut off, no half is taken for a whole.

        Raises:
            ValueError: the event is larger than MAX_LINE_BYTES.
            OSError: the disk is full or the file is gone.
        """
        line = event.model_dump_json().encode() + b"\n"
        if len(line) > MAX_LINE_BYTES:
            raise ValueError(f"an event of {len(line)} bytes is too large for the spool (limit {MAX_LINE_BYTES})")
        if self._cut:
            line = b"\n" + line
        written = os.write(self._descriptor, line)
        self._cut = not line[:written].endswith(b"\n")
        if written != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        if isinstance(event, NoteEvent) and event.text != self._noted:  # a study says it again with each step
            self._noted = event.text
            logging.getLogger(__name__).info(event.text)

    def close(self) -> None:
        os.close(self._descriptor)


class SpoolReader:
    """Follows a spool from a byte offset; never returns half a line."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self._path = path
        self.offset = offset
        """where the next unread line starts; stored and given back, it continues there after a restart"""

    def read(self, limit_bytes: int = 4 * MAX_LINE_BYTES) -> list[Event]:
        """The complete events since the last call, at most about `limit_bytes` of them; empty when there are none.

        A line that cannot be understood (a writer died in the middle of it) is passed over with a warning.
        """
        try:
            with self._path.open("rb") as file:
                file.seek(self.offset)
                block = file.read(limit_bytes)
        except FileNotFoundError:
            return []
        complete, newline, _ = block.rpartition(b"\n")
        if not newline:
            return []
        self.offset += len(complete) + 1
        events = []
        for line in complete.split(b"\n"):
            try:
                events.append(EVENT.validate_json(line))
            except ValidationError:
                log.warning("spool.unreadable_line", path=str(self._path), start=line[:80].decode(errors="replace"))
        return events
