"""Metric series of a job or run, followed in its spools: each byte is read once, however often a page asks.

A spool is what workers/spool.py writes: one JSON object a line, among them those of kind `metrics` with `global_step`
and `values`. It only grows.
"""

import json
import os
import threading
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from service.run_files.folders import RunFiles, opened
from service.run_files.thinning import thinned

MAX_POINTS = 1000
"""of a series in an answer"""
KEPT_POINTS = 4000
"""of a series in memory; at twice as many it is thinned to this"""
MAX_SERIES = 500
"""names beyond these are left out"""
MAX_RUNS = 32
"""whose series are kept; the one not asked for longest is dropped, and read again when it is asked for"""
READ_BYTES = 32 * 1024 * 1024
"""read at most for one answer; the next one goes on from there"""
BLOCK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Points:
    """A series, at most MAX_POINTS of it."""

    steps: tuple[int, ...]
    """optimizer steps over all stages, increasing"""
    values: tuple[float, ...]
    """NaN and infinities among them, where a loss was so"""


@dataclass(frozen=True)
class SeriesFound:
    series: dict[str, Points]
    complete: bool
    """False: there is more on disk than was read so far; ask again"""


class _Series:
    """Points by step; of two with the same step, as a resumed attempt leaves them, the later one."""

    def __init__(self) -> None:
        self.steps = array("q")
        self.values = array("d")

    def add(self, step: int, value: float) -> None:
        if not self.steps or step > self.steps[-1]:
            self.steps.append(step)
            self.values.append(value)
            if len(self.steps) >= 2 * KEPT_POINTS:
                kept = thinned(self.values, KEPT_POINTS)
                self.steps = array("q", (self.steps[i] for i in kept))
                self.values = array("d", (self.values[i] for i in kept))
            return
        place = bisect_left(self.steps, step)
        if self.steps[place] == step:
            self.values[place] = value
        else:
            self.steps.insert(place, step)
            self.values.insert(place, value)

    def points(self) -> Points:
        kept = thinned(self.values, MAX_POINTS)
        return Points(tuple(self.steps[i] for i in kept), tuple(self.values[i] for i in kept))


class _FollowedRun:
    """The series of one run and how far its spools are read."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._series: dict[str, _Series] = {}
        self._offsets: dict[int, int] = {}

    def follow(self, files: RunFiles) -> bool:
        """Read what is new; whether that was all of it."""
        left = READ_BYTES
        for number, spool in files.spools():
            try:
                size = os.stat(spool, follow_symlinks=False).st_size
            except OSError:
                continue
            offset = self._offsets.get(number, 0)
            if size < offset:  # another one with the same name: everything known is of no use
                self._series.clear()
                self._offsets.clear()
                return False
            while offset < size and left > 0:
                read = self._read(spool, offset)
                if read == 0:
                    break
                offset += read
                left -= read
                self._offsets[number] = offset
            if left <= 0:
                return False
        return True

    def _read(self, spool: Path, offset: int) -> int:
        """Take in the complete lines of one block; how many bytes they have."""
        try:
            with opened(spool) as file:
                file.seek(offset)
                block = file.read(BLOCK_BYTES)
        except FileNotFoundError:
            return 0
        complete, newline, _ = block.rpartition(b"\n")
        if not newline:  # a line still being written, or one too long for a spool, which is passed over
            return len(block) if len(block) == BLOCK_BYTES else 0
        for line in complete.split(b"\n"):
            if b'"metrics"' in line:
                self._take(line)
        return len(complete) + 1

    def _take(self, line: bytes) -> None:
        try:
            event = json.loads(line)
            if event["kind"] != "metrics":
                return
            step = int(event["global_step"])
            values = {str(name): float(value) for name, value in event["values"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return  # a writer died in the middle of the line
        if not -(2**63) <= step < 2**63:
            return
        for name, value in values.items():
            series = self._series.get(name)
            if series is None:
                if len(self._series) >= MAX_SERIES:
                    continue
                series = self._series[name] = _Series()
            series.add(step, value)

    def found(self, names: Collection[str]) -> dict[str, Points]:
        return {name: series.points() for name, series in sorted(self._series.items()) if not names or name in names}


class SeriesReader:
    """Series of many runs, for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[Path, _FollowedRun] = OrderedDict()

    def read(self, files: RunFiles, names: Collection[str] = ()) -> SeriesFound:
        """The series of these names, all where none is given; empty where nothing was said yet."""
        with self._lock:
            run = self._runs.setdefault(files.path, _FollowedRun())
            self._runs.move_to_end(files.path)
            while len(self._runs) > MAX_RUNS:
                self._runs.popitem(last=False)
        with run.lock:
            complete = run.follow(files)
            return SeriesFound(run.found(names), complete)
