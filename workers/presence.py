"""A worker makes itself known, with what its cluster has: a thread beside the one that runs jobs."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from pydantic import ValidationError

from service.errors import ServiceError
from service.jobs.capacity import Capacity
from service.jobs.worker_figures import WorkerFigures
from service.queue.repository import JobQueue
from workers.attempt_folder import RayOrder
from workers.meter import Counted, WorkerMeter
from workers.ray_runtime.environment import LOCAL, ray_environment
from workers.repeating import Repeating

log = structlog.get_logger()

CAPACITY_TIMEOUT_S = 60.0
BEATS_MISSED = 3
"""so many heartbeats must fail to come before a worker counts as gone"""


class WorkerPresence:
    """Beats while the block lasts, and takes its leave at the end."""

    def __init__(
        self,
        queue: JobQueue,
        worker_id: str,
        *,
        interval_s: float,
        capacity_interval_s: float,
        capacity: Callable[[], Capacity | None],
        meter: WorkerMeter | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._worker_id = worker_id
        self._interval_s = interval_s
        self._capacity_interval_s = capacity_interval_s
        self._ask = capacity
        self._meter = meter
        self._monotonic = monotonic
        self._asked_at_s: float | None = None
        self._beats = Repeating("presence", self.beat, interval_s=interval_s)

    def __enter__(self) -> Self:
        self._beats.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._beats.join()
        try:
            self._queue.leave(self._worker_id)
        except ServiceError as error_:
            log.warning("presence.not_withdrawn", reason=str(error_))

    def beat(self) -> None:
        """Announce the worker once; what its cluster has is asked now and then."""
        try:
            self._queue.announce(self._worker_id, None, ttl_s=self._ttl_s, figures=self._figures())
            now = self._monotonic()
            if self._asked_at_s is None or now - self._asked_at_s >= self._capacity_interval_s:
                self._asked_at_s = now
                capacity = self._ask()
                if capacity is not None and not self._beats.has_ended:
                    self._queue.announce(self._worker_id, capacity, ttl_s=self._ttl_s)
        except ServiceError as error:
            log.warning("presence.not_announced", reason=str(error))

    def _figures(self) -> WorkerFigures | None:
        if self._meter is None:
            return None
        self._meter.count(Counted.HEARTBEATS)
        return self._meter.read()

    @property
    def _ttl_s(self) -> float:
        return BEATS_MISSED * self._interval_s + CAPACITY_TIMEOUT_S


def capacity_of(order: RayOrder) -> Capacity | None:
    """What the cluster has that this worker runs jobs in; None: it does not answer.

    A process of its own asks a shared one, because this one never imports Ray.
    """
    if order.address == LOCAL:
        return Capacity.of_machine(order.num_cpus or len(os.sched_getaffinity(0)), gpus_here())
    with tempfile.TemporaryDirectory(prefix="sdcn-") as scratch:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "workers.ray_runtime.capacity", order.address],
                env={**os.environ, **ray_environment(order, Path(scratch))},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=CAPACITY_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            log.warning("capacity.not_known", address=order.address, reason="Ray did not answer in time")
            return None
    try:
        return Capacity.model_validate_json(done.stdout.splitlines()[-1] if done.stdout else "")
    except ValidationError:
        log.warning("capacity.not_known", address=order.address, reason=done.stderr[-500:])
        return None


def gpus_here(devices: Path = Path("/dev")) -> int:
    """NVIDIA's GPUs of this machine that its processes may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() and name.strip() != "-1"])
    return len(list(devices.glob("nvidia[0-9]*")))
