"""The trials of a sweep as they lie on disk: one folder a run, found again by number."""

from collections.abc import Callable, Iterator

from service.jobs.runs import PlannedRun
from service.jobs.study_results import RunFound
from workers.attempt_folder import RunFolder
from workers.study.run_folder import RunRecord, StudyRunFolder
from workers.training.order import RunOrder

OrderOf = Callable[[PlannedRun], RunOrder]


def drawn_name(number: int) -> str:
    """What a drawn trial and its run are called; those of a grid are called after their values too."""
    return f"trial-{number:03d}"


class Ledger:
    """Every trial that was ever begun, in order of number.

    Args:
        job: the sweep's folder.
        known: the runs where the search fixes them in advance; None: they are found by their numbers.
        order_of: a run as an order of this attempt.
    """

    def __init__(self, job: RunFolder, known: tuple[PlannedRun, ...] | None, order_of: OrderOf) -> None:
        self._job = job
        self._known = known
        self._order_of = order_of

    def runs(self) -> tuple[PlannedRun, ...]:
        """Those that are written down. They are written in order, so the first that is missing is the next.

        One that an earlier attempt gave up for a passing reason counts as unfinished from here on.
        """
        return tuple(self._recorded())

    def write(self, run: PlannedRun) -> None:
        """Durable when it returns."""
        self.folder(run.name).write_record(self._order_of(run))

    def order(self, run: PlannedRun) -> RunOrder:
        return self._order_of(run)

    def found(self, name: str) -> RunFound | None:
        return self.folder(name).read_found()

    def write_found(self, found: RunFound) -> None:
        self.folder(found.name).write_found(found)

    def folder(self, name: str) -> StudyRunFolder:
        return StudyRunFolder.of(self._job, name)

    def _recorded(self) -> Iterator[PlannedRun]:
        number = 0
        while (name := self._name(number)) is not None and (record := self._read(name)) is not None:
            self.folder(name).forget_passing_failure()
            yield PlannedRun(record.name, record.variant, record.seed, record.overrides, record.experiment)
            number += 1

    def _name(self, number: int) -> str | None:
        if self._known is None:
            return drawn_name(number)
        return self._known[number].name if number < len(self._known) else None

    def _read(self, name: str) -> RunRecord | None:
        try:
            return RunRecord.model_validate_json(self.folder(name).record.read_bytes())
        except FileNotFoundError:
            return None
