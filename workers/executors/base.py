"""What an executor is: it carries out one kind of job in the attempt's child process."""

from dataclasses import dataclass
from typing import Protocol

from workers.attempt_folder import AttemptFolder, AttemptOrder, Failed, RunFolder, Succeeded
from workers.errors import AttemptStopped
from workers.spool import EventSpool


@dataclass(frozen=True)
class JobContext:
    """What an executor works with."""

    order: AttemptOrder
    folder: AttemptFolder
    spool: EventSpool

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.order.home, self.order.job_id)

    def check_stop(self) -> None:
        """Call it where the work can be dropped.

        Raises:
            AttemptStopped: somebody asked the attempt to end.
        """
        if self.folder.stop.exists():
            raise AttemptStopped("the attempt was asked to stop")


class JobExecutor(Protocol):
    """Carries out one attempt, on the main thread of the child process."""

    def __call__(self, context: JobContext) -> Succeeded | Failed:
        """Do the job; how it ended.

        Raises:
            AttemptStopped: it was asked to end, and has.
            SdcnError: the job's input or its training failed.
            WorkerError: what surrounds the training failed.
        """
        ...
