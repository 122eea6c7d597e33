"""Follows the states and the progress of a job."""

from bisect import bisect_right
from datetime import datetime

from service.jobs.watch_answers import EventRead, ProgressRead
from service.queue.records import JobEvent
from service.watching.followers import Seen
from service.watching.frames import end_frame, frame


class EventFollower:
    """Tells every event behind `after` once, in order, the latest progress whenever it has changed, and the end.

    Args:
        job_id: of the job.
        after: the id of the last event that the listener has.
    """

    is_behind = False

    def __init__(self, job_id: str, *, after: int) -> None:
        self.job_id = job_id
        self.is_over = False
        self._after = after
        self._told_progress: tuple[int, datetime] | None = None

    def advance(self, seen: Seen) -> list[bytes]:
        news = seen.events[bisect_right(seen.events, self._after, key=_number) :]
        told = [_state(event) for event in news]
        ended = seen.state.is_terminal
        if seen.progress is not None and (news or not ended):
            version = (seen.attempt, seen.progress.updated_at)
            if version != self._told_progress:
                self._told_progress = version
                answer = ProgressRead(attempt=seen.attempt, progress=seen.progress)
                told.insert(len(told) - ended, frame("progress", answer))  # before the event that ends all
        if news:
            self._after = news[-1].event_id
        if ended:
            self.is_over = True
            told.append(end_frame(seen.state))
        return told


def describe_event(event: JobEvent) -> EventRead:
    return EventRead(
        id=event.event_id,
        job_id=event.job_id,
        attempt=event.attempt,
        from_state=event.from_state,
        to_state=event.to_state,
        actor=event.actor,
        note=event.note,
        at=event.at,
    )


def _state(event: JobEvent) -> bytes:
    return frame("state", describe_event(event), event_id=str(event.event_id))


def _number(event: JobEvent) -> int:
    return event.event_id
