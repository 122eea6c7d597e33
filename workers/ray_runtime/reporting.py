"""What training says on its way to the spool: rank 0 -> ray.train.report -> Ray's controller -> events.jsonl."""

import logging
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ray.train import Checkpoint, UserCallback

from service.checkpoint_storage import Place
from workers.ray_runtime.run_storage import keep_copy_of_snapshot
from workers.spool import EVENT, Event, EventSpool

log = logging.getLogger(__name__)

EVENTS = "events"
"""the key under which a report carries its events"""


def to_payload(events: Iterable[Event]) -> dict[str, Any]:
    """Events as what ray.train.report accepts: plain JSON, which Ray also stores beside a checkpoint."""
    return {EVENTS: [event.model_dump_json() for event in events]}


class SpoolCallback(UserCallback):
    """Writes each report's events to the spool. Runs in Ray's controller, where an exception would fail the run: what
    the disk has no room for waits for the next report.
    """

    def __init__(self, events_path: Path, storage: Place) -> None:
        self._events_path = events_path
        self._storage = storage
        self._spool: EventSpool | None = None  # opened in the controller: a descriptor does not travel
        self._waiting: deque[Event] = deque()

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:  # noqa: ANN401
        try:
            self._waiting += [EVENT.validate_json(text) for report in metrics for text in report.get(EVENTS, ())]
            if self._spool is None:
                self._spool = EventSpool(self._events_path)
            while self._waiting:
                self._spool.append(self._waiting[0])
                self._waiting.popleft()
            if checkpoint is not None:
                keep_copy_of_snapshot(self._storage)
        except Exception:
            log.exception("%d events could not be written to %s yet", len(self._waiting), self._events_path)
