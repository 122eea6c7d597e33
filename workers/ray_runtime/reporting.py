"""What training says on its way to the spool: rank 0 -> ray.train.report -> Ray's controller -> events.jsonl."""

import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ray.train import Checkpoint, UserCallback

from sdcn_core.training.progress import TrainingReport
from workers.ray_runtime.run_storage import keep_copy_of_snapshot
from workers.spool import EVENT, Event, EventSpool, FileEvent, MetricsEvent, ProgressEvent

log = logging.getLogger(__name__)

EVENTS = "events"
"""the key under which a report carries its events"""


def events_of(report: TrainingReport, files: Mapping[str, Path]) -> list[Event]:
    """A report as events; `files` are those of the report where they are kept now."""
    progress = report.progress
    events: list[Event] = [
        ProgressEvent(
            stage=progress.stage.value,
            step=progress.step,
            stage_steps=progress.stage_steps,
            fraction=progress.fraction,
            global_step=report.global_step,
        )
    ]
    if report.metrics:
        events.append(MetricsEvent(global_step=report.global_step, values=dict(report.metrics)))
    return events + [FileEvent(name=name, path=path) for name, path in files.items()]


def to_payload(events: Iterable[Event]) -> dict[str, Any]:
    """Events as what ray.train.report accepts: plain JSON, which Ray also stores beside a checkpoint."""
    return {EVENTS: [event.model_dump_json() for event in events]}


def keep_files(files: Mapping[str, Path], artifacts: Path) -> dict[str, Path]:
    """Copy files into the run's artifacts, each whole or not at all."""
    kept = {}
    for name, source in files.items():
        target = artifacts / name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(source, partial)
        partial.replace(target)
        kept[name] = target
    return kept


class SpoolCallback(UserCallback):
    """Writes each report's events to the spool. Runs in Ray's controller, where an exception would fail the run."""

    def __init__(self, events_path: Path, run_path: Path) -> None:
        self._events_path = events_path
        self._run_path = run_path
        self._spool: EventSpool | None = None  # opened in the controller: a descriptor does not travel

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:  # noqa: ANN401
        try:
            if self._spool is None:
                self._spool = EventSpool(self._events_path)
            for report in metrics:
                for text in report.get(EVENTS, ()):
                    self._spool.append(EVENT.validate_json(text))
            if checkpoint is not None:
                keep_copy_of_snapshot(self._run_path)
        except Exception:
            log.exception("a report of the training could not be written to %s", self._events_path)
