"""What a run has reported so far, over all attempts at it, read from its spools."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.attempt_folder import AttemptFolder
from workers.spool import Event, MetricsEvent, ProgressEvent, SpoolReader


@dataclass(frozen=True)
class Reported:
    last: dict[str, float]
    """every metric, as last reported"""
    global_step: int
    """of the last report"""
    seconds: float
    """between the first and the last report of each attempt, together"""

    @classmethod
    def of(cls, run: Path) -> "Reported":
        """Of a run's folder."""
        last: dict[str, float] = {}
        global_step = 0
        seconds = 0.0
        for attempt in _attempts(run):
            events = list(_events(attempt.events))
            if events:
                seconds += (events[-1].time_ms - events[0].time_ms) / 1000
            for event in events:
                if isinstance(event, MetricsEvent):
                    last.update(event.values)
                if isinstance(event, MetricsEvent | ProgressEvent):
                    global_step = event.global_step
        return cls(last, global_step, max(0.0, seconds))


def series_of(run: Path, metric: str) -> dict[int, float]:
    """Global step -> the metric; of a step that was reported twice, the later report."""
    return {
        event.global_step: event.values[metric]
        for attempt in _attempts(run)
        for event in _events(attempt.events)
        if isinstance(event, MetricsEvent) and metric in event.values
    }


def _attempts(run: Path) -> list[AttemptFolder]:
    return sorted((AttemptFolder(path) for path in run.glob("attempt-*")), key=lambda folder: folder.number)


def _events(spool: Path) -> Iterator[Event]:
    reader = SpoolReader(spool)
    while events := reader.read():
        yield from events
