"""The metric series and the times of a run, read from its spools: what MLflow shows, without MLflow."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from workers.attempt_folder import AttemptFolder
from workers.spool import MetricsEvent, SpoolReader


@dataclass
class Series:
    """One metric; steps only go forward."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    """NaN where the value was not finite"""

    @property
    def last(self) -> float | None:
        return self.values[-1] if self.values else None


@dataclass(frozen=True)
class Told:
    """What a run's spools tell, over all attempts."""

    series: dict[str, Series]
    attempts: int
    worked_s: float
    """from the first to the last event of each attempt, summed: the time between attempts does not count"""
    began_at_ms: int | None
    ended_at_ms: int | None


def read_spools(run_path: Path) -> Told:
    """Everything that is said in <run_path>/attempt-<n>/events.jsonl; a run without spools tells nothing."""
    folders = sorted((AttemptFolder(p) for p in run_path.glob("attempt-*")), key=lambda folder: folder.number)
    series: defaultdict[str, Series] = defaultdict(Series)
    spans = []
    for folder in folders:
        reader = SpoolReader(folder.events)
        times = []
        while events := reader.read():
            for event in events:
                times.append(event.time_ms)
                if isinstance(event, MetricsEvent):
                    _add(series, event)
        if times:
            spans.append((min(times), max(times)))
    return Told(
        series=dict(series),
        attempts=len(folders),
        worked_s=sum(last - first for first, last in spans) / 1000,
        began_at_ms=spans[0][0] if spans else None,
        ended_at_ms=spans[-1][1] if spans else None,
    )


def _add(series: defaultdict[str, Series], event: MetricsEvent) -> None:
    for name, value in event.values.items():
        metric = series[name]
        if not metric.steps or event.global_step > metric.steps[-1]:
            metric.steps.append(event.global_step)
            metric.values.append(value if math.isfinite(value) else math.nan)
