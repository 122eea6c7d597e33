"""What puts in order what nobody else does: a thread in every worker, of which one at a time, elected by a lease in
the database, goes through the steps.

Each step looks at what is there and does what is missing, so that one that was cut short is done again by whoever is
elected next, and one that is done twice changes nothing.
"""

import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

import structlog

from service.errors import DatabaseUnavailable, ServiceError
from service.queue.repository import JobQueue

log = structlog.get_logger()

TASK: Final = "reconcile"
LEASE_ROUNDS = 6
"""the lease of the elected one outlasts so many rounds: a step may take longer than one"""

Step = Callable[[], object]
"""says what it did, if that is worth a line of the log; may raise, and is tried again in the next round"""


class Reconciler:
    """Works while the block lasts.

    Args:
        queue: the queue.
        worker_id: of this worker.
        interval_s: between two rounds.
        steps: by name, beyond those that the queue needs.
    """

    def __init__(
        self, queue: JobQueue, worker_id: str, *, interval_s: float, steps: Mapping[str, Step] | None = None
    ) -> None:
        self._queue = queue
        self._worker_id = worker_id
        self._interval_s = interval_s
        self._steps: Mapping[str, Step] = {
            "rescue": queue.rescue_lost,
            "deadlines": queue.enforce_deadlines,
            "dependencies": queue.unblock_waiting,
            "workers": queue.forget_workers,
            **(steps or {}),
        }
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=self._interval_s)  # a step may wait for MLflow or Ray: do not wait with it

    def round(self) -> bool:
        """Go through the steps, if this worker is the elected one; whether it is.

        Raises:
            ServiceError: the queue cannot be asked.
        """
        for name, step in self._steps.items():
            if self._ended.is_set() or not self._queue.lead(
                TASK, self._worker_id, lease_s=LEASE_ROUNDS * self._interval_s
            ):
                return False
            try:
                if done := step():
                    log.info("reconciler.done", step=name, what=done)
            except DatabaseUnavailable:
                raise
            except Exception:  # one step must not keep the others from being done
                log.exception("reconciler.step_failed", step=name)
        return True

    def _run(self) -> None:
        while True:
            try:
                self.round()
            except ServiceError as error:
                log.warning("reconciler.queue_unreachable", reason=str(error))
            except Exception:  # a dead thread would leave lost jobs lost
                log.exception("reconciler.round_failed")
            if self._ended.wait(self._interval_s):
                return
