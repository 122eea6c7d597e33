"""The heartbeat: a thread that keeps a claim's lease alive and hears what the client wants."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

from service.errors import LeaseLost, ServiceError
from service.jobs.states import Desired, JobState
from service.queue.records import Claim, Pulse
from service.queue.repository import JobQueue
from workers.meter import Counted
from workers.repeating import Repeating

log = structlog.get_logger()


class LeaseKeeper:
    """Beats while the block lasts. Ask `is_lost` before anything that only the lease's holder may do.

    The lease counts as lost when the queue says so, and also when it could not be reached for as long as a lease lasts:
    by then another worker may have the job. Time is taken before a beat is sent, so ours ends before the queue's does.
    """

    def __init__(
        self,
        queue: JobQueue,
        claim: Claim,
        *,
        lease_s: float,
        interval_s: float,
        claimed_at_s: float,
        count: Callable[[Counted], None] = lambda _: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._claim = claim
        self._lease_s = lease_s
        self._count = count
        self._monotonic = monotonic
        self._held_until_s = claimed_at_s + lease_s
        self._tell_holder: Callable[[float], None] = lambda _until_s: None
        self._taken = threading.Event()
        self._pulse = Pulse(Desired.RUN, JobState.CLAIMED, overdue=False)
        self._beats = Repeating(f"lease-{claim.job_id}", self.beat, interval_s=interval_s, at_once=False)

    def __enter__(self) -> Self:
        self._beats.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._beats.join()

    @property
    def is_lost(self) -> bool:
        return self._taken.is_set() or self._monotonic() > self._held_until_s

    def inform(self, holder: Callable[[float], None]) -> None:
        """Tell whoever works under the lease, now and at every renewal, until when it is held."""
        self._tell_holder = holder
        holder(self._held_until_s)

    @property
    def pulse(self) -> Pulse:
        """What the last beat heard."""
        return self._pulse

    def beat(self) -> None:
        """Prolong the lease once; a queue that cannot be reached is passed over, for the time that is left."""
        sent_at_s = self._monotonic()
        try:
            pulse = self._queue.heartbeat(self._claim, lease_s=self._lease_s)
        except LeaseLost:
            self._taken.set()
            self._beats.end()
        except ServiceError as error:
            self._count(Counted.LEASE_RENEWALS_FAILED)
            log.warning("lease.not_renewed", reason=str(error))
        else:
            self._count(Counted.LEASE_RENEWALS)
            self._held_until_s = sent_at_s + self._lease_s
            self._pulse = pulse
            self._tell_holder(self._held_until_s)
