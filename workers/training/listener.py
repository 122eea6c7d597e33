"""Hears a training that runs in other processes, by following its spool."""

import threading

from sdcn_core.training.progress import Stage
from workers.spool import SpoolReader
from workers.training.events import ReportReader
from workers.training.here import OnReport
from workers.training.order import TrainingOrder

POLL_S = 0.2


class Listener:
    """Calls `on_report` on a thread of its own while the block lasts, and at its end for what was left.

    What is in the spool before the block begins is not heard. When `on_report` has heard enough, the training is asked
    to stop, and `enough` is True.
    """

    def __init__(self, order: TrainingOrder, on_report: OnReport) -> None:
        self._folder = order.folder
        self._on_report = on_report
        events = self._folder.events
        self._reader = SpoolReader(events, offset=events.stat().st_size if events.exists() else 0)
        self._reports = ReportReader()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)
        self._error: BaseException | None = None
        self.enough = False

    def __enter__(self) -> "Listener":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not self._ended.wait(POLL_S):
                self._hear()
            self._hear()
        except BaseException as error:  # told on the thread that waits for the training
            self._error = error
            self._folder.stop.touch()

    def _hear(self) -> None:
        while events := self._reader.read():
            for report in self._reports.take(events):
                if self._on_report(report) and report.progress.stage is not Stage.EVALUATE:
                    self.enough = True
                    self._folder.stop.touch()
