"""What a running attempt says, carried from its spool into the job's row, with an estimate of the time that is left."""

import math
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from service.errors import LeaseLost, ServiceError
from service.jobs.progress import JobProgress
from service.queue.records import Claim
from service.queue.repository import JobQueue
from workers.spool import (
    STUDY,
    BegunEvent,
    Event,
    FileEvent,
    MetricsEvent,
    NoteEvent,
    ProgressEvent,
    ResumedEvent,
    SpoolReader,
)

log = structlog.get_logger()

ETA_WINDOW_S = 120.0
"""the rate is that of the last so many seconds: stages differ, and what was long ago says little"""
ETA_AFTER_S = 5.0
"""below this an estimate is a guess"""
RATE_WINDOW_S = 60.0
METRIC_LIMIT = 200


class RemainingTime:
    """Estimates the seconds left from how fast the fraction has grown lately, within one stage where that is known.

    Times are those of the events, in milliseconds, so that a late reader estimates the same.
    """

    def __init__(self) -> None:
        self._points: deque[tuple[int, float]] = deque()
        self._stage: str | None = None

    def after(self, event: ProgressEvent) -> float | None:
        """The estimate at this event; None while too little is known."""
        if self._stage == "data" and event.stage != "data":
            self._points.clear()  # data may come from the cache: its share of the run then passes in no time
        self._stage = event.stage
        self._points.append((event.time_ms, event.fraction))
        while len(self._points) > 2 and event.time_ms - self._points[1][0] > ETA_WINDOW_S * 1000:
            self._points.popleft()
        first_ms, first_fraction = self._points[0]
        elapsed_s = (event.time_ms - first_ms) / 1000
        gained = event.fraction - first_fraction
        if elapsed_s < ETA_AFTER_S or gained <= 0:
            return None
        return (1 - event.fraction) * elapsed_s / gained


class StepRate:
    """Optimizer steps a second over the last reports, by the times of the events."""

    def __init__(self) -> None:
        self._points: deque[tuple[int, int]] = deque()

    def after(self, event: ProgressEvent) -> float | None:
        """The rate at this event; None where it makes no steps of its own, or too little is known."""
        if event.stage == STUDY:  # its steps are runs
            return None
        if self._points and event.global_step < self._points[-1][1]:
            self._points.clear()  # it goes on from a checkpoint
        self._points.append((event.time_ms, event.global_step))
        while len(self._points) > 2 and event.time_ms - self._points[1][0] > RATE_WINDOW_S * 1000:
            self._points.popleft()
        (first_ms, first_step), (last_ms, last_step) = self._points[0], self._points[-1]
        if last_ms <= first_ms or last_step == first_step:
            return None
        return (last_step - first_step) * 1000 / (last_ms - first_ms)


class ProgressPump:
    """Reads one attempt's spool and keeps the job's progress up to date."""

    def __init__(
        self,
        queue: JobQueue,
        claim: Claim,
        reader: SpoolReader,
        *,
        interval_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._queue = queue
        self._claim = claim
        self._reader = reader
        self._interval_s = interval_s
        self._monotonic = monotonic
        self._remaining = RemainingTime()
        self._rate = StepRate()
        self.steps_per_second: float | None = None
        """of the attempt, as of its last report"""
        self._progress: ProgressEvent | None = None
        self._eta_s: float | None = None
        self._metrics: dict[str, float] = {}
        self._message: str | None = None
        self._resumed_from: int | None = None
        self._heard = False
        self._unwritten = False
        self._written_at_s: float | None = None

    @property
    def has_heard(self) -> bool:
        """Whether the attempt has said anything yet."""
        return self._heard

    def pump(self, *, last: bool = False) -> None:
        """Read what is new, and write it if the last write is long enough ago, or this is to be the last.

        A queue that cannot be reached keeps nothing waiting: the next write says it all.

        Raises:
            LeaseLost: the job is another worker's.
        """
        while events := self._reader.read():
            self._heard = True
            for event in events:
                self._take(event)
        now = self._monotonic()
        if not self._unwritten or (
            not last and self._written_at_s is not None and now - self._written_at_s < self._interval_s
        ):
            return
        self._written_at_s = now
        try:
            self._write()
            self._unwritten = False
        except LeaseLost:
            raise
        except ServiceError as error:
            log.warning("progress.not_written", job_id=self._claim.job_id, reason=str(error))

    def _take(self, event: Event) -> None:
        match event:
            case ProgressEvent():
                if self._progress is not None and event.stage != self._progress.stage:
                    self._message = None  # it was about what went before
                self._progress = event
                self._eta_s = self._remaining.after(event)
                self.steps_per_second = self._rate.after(event)
            case MetricsEvent():
                self._metrics |= {name: value for name, value in event.values.items() if math.isfinite(value)}
            case ResumedEvent():
                self._resumed_from = event.global_step
            case NoteEvent():
                self._message = event.text
            case FileEvent() | BegunEvent():
                return
        self._unwritten = True

    def _write(self) -> None:
        if self._resumed_from is not None:
            self._queue.record_resume(self._claim, step=self._resumed_from)
            self._resumed_from = None
        progress = self._progress or ProgressEvent(stage="data", step=0, stage_steps=0, fraction=0)
        self._queue.record_progress(
            self._claim,
            JobProgress(
                stage=progress.stage,
                step=progress.step,
                stage_steps=progress.stage_steps,
                fraction=min(1.0, max(0.0, progress.fraction)),
                eta_s=self._eta_s,
                global_step=progress.global_step,
                metrics=dict(list(self._metrics.items())[-METRIC_LIMIT:]),
                message=None if self._message is None else self._message[:500],
                updated_at=datetime.now(UTC),
            ),
        )
