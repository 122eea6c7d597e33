"""A training's reports as events of its spool, and back."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from sdcn_core.training.progress import Progress, Stage, TrainingReport
from workers.spool import Event, FileEvent, MetricsEvent, ProgressEvent


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


class ReportReader:
    """Finds the reports that have metrics in what is read of a spool, piece by piece."""

    def __init__(self) -> None:
        self._progress: ProgressEvent | None = None

    def take(self, events: Iterable[Event]) -> Iterator[TrainingReport]:
        """The reports that these events complete, without their files."""
        for event in events:
            match event:
                case ProgressEvent():
                    self._progress = event
                case MetricsEvent() if self._progress is not None:
                    progress = self._progress
                    yield TrainingReport(
                        Progress(Stage(progress.stage), progress.step, progress.stage_steps, progress.fraction),
                        event.global_step,
                        event.values,
                    )


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
