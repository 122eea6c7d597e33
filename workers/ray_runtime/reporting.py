"""What training says on its way to the spool: rank 0 -> ray.train.report -> Ray's controller -> events.jsonl."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ray.train import Checkpoint, UserCallback

from workers.ray_runtime.run_storage import keep_copy_of_snapshot
from workers.spool import EVENT, Event, EventSpool

log = logging.getLogger(__name__)

EVENTS = "events"
"""the key under which a report carries its events"""


def to_payload(events: Iterable[Event]) -> dict[str, Any]:
    """Events as what ray.train.report accepts: plain JSON, which Ray also stores beside a checkpoint."""
    return {EVENTS: [event.model_dump_json() for event in events]}


class SpoolCallback(UserCallback):
    """Writes each report's events to the spool. Runs in Ray's controller, where an exception would fail the run."""

    def __init__(self, events_path: Path, storage: Path) -> None:
        self._events_path = events_path
        self._storage = storage
        self._spool: EventSpool | None = None  # opened in the controller: a descriptor does not travel

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:  # noqa: ANN401
        try:
            if self._spool is None:
                self._spool = EventSpool(self._events_path)
            for report in metrics:
                for text in report.get(EVENTS, ()):
                    self._spool.append(EVENT.validate_json(text))
            if checkpoint is not None:
                keep_copy_of_snapshot(self._storage)
        except Exception:
            log.exception("a report of the training could not be written to %s", self._events_path)
