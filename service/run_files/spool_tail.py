"""The last thing a run has said, from the two ends of its spool."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.run_files.folders import opened

END_BYTES = 64 * 1024
"""read of each end"""


@dataclass(frozen=True)
class Report:
    """One report of progress."""

    stage: str
    step: int
    stage_steps: int
    fraction: float
    global_step: int
    time_ms: int


@dataclass(frozen=True)
class LastWord:
    first: Report
    """of the attempt"""
    latest: Report
    metrics: dict[str, float]
    """that came last, NaN and infinities among them"""

    @property
    def eta_s(self) -> float | None:
        """Seconds from the latest report to the run's end at the attempt's mean rate; None: nothing to go by."""
        gained = self.latest.fraction - self.first.fraction
        if gained <= 0:
            return None
        return (1 - self.latest.fraction) * (self.latest.time_ms - self.first.time_ms) / 1000 / gained


def last_word(spool: Path) -> LastWord | None:
    """What the spool of an attempt ends with; None where it has no report of progress in its last 64 KiB."""
    try:
        with opened(spool) as file:
            size = os.fstat(file.fileno()).st_size
            head = file.read(END_BYTES).split(b"\n")[:-1]
            tail = head
            if size > END_BYTES:
                file.seek(size - END_BYTES)
                tail = file.read(END_BYTES).split(b"\n")[1:-1]  # the first may be half a line, the last unfinished
    except FileNotFoundError:
        return None
    latest = next(filter(None, map(_report, reversed(tail))), None)
    if latest is None:
        return None
    first = next(filter(None, map(_report, head)), latest)
    metrics = next(filter(None, map(_metrics, reversed(tail))), {})
    return LastWord(first, latest, metrics)


def _report(line: bytes) -> Report | None:
    event = _event(line, "progress")
    if event is None:
        return None
    try:
        return Report(
            stage=str(event["stage"]),
            step=int(event["step"]),
            stage_steps=int(event["stage_steps"]),
            fraction=min(1.0, max(0.0, float(event["fraction"]))),
            global_step=int(event.get("global_step", 0)),
            time_ms=int(event["time_ms"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _metrics(line: bytes) -> dict[str, float] | None:
    event = _event(line, "metrics")
    if event is None:
        return None
    try:
        return {str(name): float(value) for name, value in event["values"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _event(line: bytes, kind: str) -> dict[str, Any] | None:
    """The line's event if it is of this kind; lines of others are not parsed."""
    if f'"{kind}"'.encode() not in line:
        return None
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and event.get("kind") == kind else None
