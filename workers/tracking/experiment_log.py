"""Where runs are recorded for people to compare, as the supervisor sees it."""

from pathlib import Path
from typing import Protocol

from service.queue.records import Claim


class ExperimentLog(Protocol):
    """Records runs from their spools. No call waits for whoever keeps the records, but `flush`, which has a limit."""

    def begin(self, claim: Claim, run_path: Path) -> None:
        """An attempt starts: deliver what it says from now on."""
        ...

    def flush(self, job_id: str, *, timeout_s: float) -> bool:
        """Wait until all that was said so far is delivered, or delivery failed, or time is up; whether it was."""
        ...

    def ended(self, job_id: str) -> None:
        """The attempt is over and settled: deliver the rest, and close the run if the job is over too."""
        ...

    def forget(self, job_id: str) -> None:
        """Delete what was recorded of a job that was deleted.

        Raises:
            TrackingUnavailable: it cannot be deleted now.
        """
        ...

    def close_left_open(self) -> list[str]:
        """Close the runs of ended jobs that nobody closes any more; their ids.

        Raises:
            TrackingUnavailable: whoever keeps the records does not answer.
        """
        ...

    def close(self, *, timeout_s: float) -> None:
        """Stop delivering; what is left waits on disk."""
        ...


class NullLog:
    """Records nothing."""

    def begin(self, claim: Claim, run_path: Path) -> None: ...

    def flush(self, job_id: str, *, timeout_s: float) -> bool:
        return True

    def ended(self, job_id: str) -> None: ...

    def forget(self, job_id: str) -> None: ...

    def close_left_open(self) -> list[str]:
        return []

    def close(self, *, timeout_s: float) -> None: ...
