"""What the attempts at a training have said, from first to last: its spools are its memory, also of attempts that were
killed.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

from workers.attempt_folder import attempts_in
from workers.spool import Event, MetricsEvent, ProgressEvent, SpoolReader


@dataclass
class Said:
    seconds: float = 0.0
    """from each attempt's first event to its last, summed up"""
    global_step: int = 0
    """the last one told"""
    values: dict[str, float] = field(default_factory=dict)
    """each metric as last reported in training or after it; finite ones alone"""

    def take(self, event: Event) -> None:
        """Take note of the next event."""
        match event:
            case ProgressEvent():
                self.global_step = event.global_step
            case MetricsEvent() if event.global_step > 0:  # before it, the untrained network was judged
                self.values |= {name: value for name, value in event.values.items() if math.isfinite(value)}


def said_in(run_path: Path) -> Said:
    """Read the spools of all attempts at the training in this folder."""
    said = Said()
    for folder in attempts_in(run_path):
        reader = SpoolReader(folder.events)
        first_ms = last_ms = None
        while events := reader.read():
            for event in events:
                first_ms = event.time_ms if first_ms is None else first_ms
                last_ms = event.time_ms
                said.take(event)
        if first_ms is not None and last_ms is not None:
            said.seconds += max(0, last_ms - first_ms) / 1000
    return said
