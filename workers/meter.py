"""What a worker counts and measures of itself; it travels with its heartbeat into the database."""

import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import psutil

from service.disk import free_bytes
from service.jobs.worker_figures import GpuFigures, WorkerFigures
from workers.processes import SessionRecord, members


class Counted(StrEnum):
    """Fields of WorkerFigures that only rise."""

    HEARTBEATS = "heartbeats"
    LEASE_RENEWALS = "lease_renewals"
    LEASE_RENEWALS_FAILED = "lease_renewals_failed"
    LEASES_LOST = "leases_lost"


class WorkerMeter:
    """The counts of one worker process, safe to use from many threads.

    Args:
        home: of the service, on whose disk free space is measured.
        gpus: the machine's, as last told.
    """

    def __init__(self, home: Path, *, gpus: Callable[[], tuple[GpuFigures, ...]] = tuple) -> None:
        self._home = home
        self._gpus = gpus
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(Counted, 0)
        self._session: SessionRecord | None = None
        self._steps_per_second: float | None = None

    def count(self, what: Counted) -> None:
        with self._lock:
            self._counts[what] += 1

    def attempt_began(self, session: SessionRecord) -> None:
        """From here on the memory of its processes is measured."""
        self._session = session

    def steps(self, per_second: float | None) -> None:
        """The step rate of the attempt at work, as last told."""
        self._steps_per_second = per_second

    def attempt_ended(self) -> None:
        self._session = self._steps_per_second = None

    def read(self) -> WorkerFigures:
        """The figures of now."""
        session = self._session
        with self._lock:
            counts = {what.value: count for what, count in self._counts.items()}
        return WorkerFigures(
            memory_bytes=psutil.Process().memory_info().rss,
            attempt_memory_bytes=None if session is None else _resident(members(session)),
            steps_per_second=self._steps_per_second,
            disk_free_bytes=free_bytes(self._home),
            gpus=self._gpus(),
            **counts,
        )


def _resident(processes: list[psutil.Process]) -> int:
    total = 0
    for process in processes:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue  # it has ended meanwhile
    return total
