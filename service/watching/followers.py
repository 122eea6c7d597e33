"""What one stream has told so far, and what it tells next."""

from dataclasses import dataclass
from typing import Protocol

from service.jobs.progress import JobProgress
from service.jobs.states import JobState
from service.queue.records import JobEvent


@dataclass(frozen=True)
class Seen:
    """A job as it was at the latest look."""

    attempt: int
    progress: JobProgress | None
    events: tuple[JobEvent, ...]
    """all there are, oldest first"""

    @property
    def state(self) -> JobState:
        return self.events[-1].to_state


class Follower(Protocol):
    """One stream's place in what there is to tell of a job. It is used by one thread at a time."""

    @property
    def job_id(self) -> str: ...

    @property
    def is_over(self) -> bool:
        """Whether the last event has been told."""
        ...

    @property
    def is_behind(self) -> bool:
        """Whether more could be told at once: the last answer was cut short."""
        ...

    def advance(self, seen: Seen) -> list[bytes]:
        """The events that come next, as they are sent; may read files, never more than some hundred kilobytes."""
        ...
