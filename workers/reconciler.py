"""What puts in order what nobody else does: a thread in every worker, of which one at a time, elected by a lease in
the database, goes through the steps.

Each step looks at what is there and does what is missing, so that one that was cut short is done again by whoever is
elected next, and one that is done twice changes nothing.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import structlog

from service.errors import DatabaseUnavailable, ServiceError
from service.queue.repository import JobQueue
from workers.errors import WorkerError
from workers.repeating import Repeating

log = structlog.get_logger()

TASK: Final = "reconcile"
LEASE_ROUNDS = 3
"""the lease of the elected one outlasts so many rounds: a step may take longer than one"""


@dataclass(frozen=True)
class Step:
    """A part of a round."""

    name: str
    do: Callable[[], object]
    """says what it did, if that is worth a line of the log; when it raises, it is tried again"""
    every_s: float = 0.0
    """it is left out of rounds that come sooner after the last in which it was done"""


class Reconciler:
    """Works while the block lasts.

    Args:
        queue: the queue.
        worker_id: of this worker.
        interval_s: between two rounds.
        steps: beyond those that the queue needs.
        monotonic: seconds, of which only differences count.
    """

    def __init__(
        self,
        queue: JobQueue,
        worker_id: str,
        *,
        interval_s: float,
        steps: Sequence[Step] = (),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._worker_id = worker_id
        self._interval_s = interval_s
        self._monotonic = monotonic
        self._steps = (
            Step("rescue", queue.rescue_lost),
            Step("deadlines", queue.enforce_deadlines),
            Step("dependencies", queue.unblock_waiting),
            Step("workers", queue.forget_workers, every_s=3600),
            *steps,
        )
        self._done_at_s: dict[str, float] = {}
        self._leads_until_s = -math.inf
        self._rounds = Repeating("reconciler", self._round, interval_s=interval_s)

    def __enter__(self) -> Self:
        self._rounds.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rounds.join()
        try:
            self._queue.resign(TASK, self._worker_id)
        except ServiceError as error_:
            log.warning("reconciler.not_resigned", reason=str(error_))

    def round(self) -> bool:
        """Go through the steps, if this worker is the elected one; whether it is.

        Raises:
            ServiceError: the queue cannot be asked.
        """
        for step in self._steps:
            if self._monotonic() < self._done_at_s.get(step.name, -math.inf) + step.every_s:
                continue
            if self._rounds.has_ended or not self._leads():
                return False
            self._do(step)
        return True

    def _leads(self) -> bool:
        """Whether this worker is the elected one; the lease is prolonged when half of it is over."""
        now = self._monotonic()
        if now >= self._leads_until_s:
            lease_s = LEASE_ROUNDS * self._interval_s
            is_elected = self._queue.lead(TASK, self._worker_id, lease_s=lease_s)
            self._leads_until_s = now + lease_s / 2 if is_elected else -math.inf
        return now < self._leads_until_s

    def _do(self, step: Step) -> None:
        self._done_at_s[step.name] = self._monotonic()
        try:
            if done := step.do():
                log.info("reconciler.done", step=step.name, what=done)
        except DatabaseUnavailable:
            raise
        except (WorkerError, OSError) as error:  # MLflow, Ray or the disk: the next time may be better
            log.warning("reconciler.step_failed", step=step.name, reason=str(error)[:500])
        except Exception:  # one step must not keep the others from being done
            log.exception("reconciler.step_failed", step=step.name)

    def _round(self) -> None:
        try:
            self.round()
        except ServiceError as error:
            log.warning("reconciler.queue_unreachable", reason=str(error))
