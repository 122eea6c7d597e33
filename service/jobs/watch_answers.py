"""What those who follow a job are told: its changes of state, its progress, its log, and the end."""

from typing import Literal

from pydantic import AwareDatetime

from service.jobs.answers import Answer
from service.jobs.progress import JobProgress
from service.jobs.states import JobState


class EventRead(Answer):
    """One change of a job's state. In a stream: `event: state`, and `id` is this id."""

    id: int
    """larger than that of every earlier event of the job"""
    job_id: str
    attempt: int
    """the attempt it belongs to; 0 before the first"""
    from_state: JobState | None
    """null: the job was made"""
    to_state: JobState
    actor: str
    """api, or the worker's id, or who else has moved it"""
    note: str | None
    """why, in a sentence"""
    at: AwareDatetime


class EventList(Answer):
    events: tuple[EventRead, ...]
    """oldest first"""
    next_after: int | None
    """`after` of the next page; null: there is none yet"""


class ProgressRead(Answer):
    """How far the job is, whenever that changes. In a stream: `event: progress`, without an id, as only the latest one
    counts.
    """

    attempt: int
    progress: JobProgress


class LogGap(Answer):
    """Bytes of a log that are no longer kept. In a stream: `event: gap`."""

    attempt: int
    num_bytes: int


class StreamEnd(Answer):
    """Nothing more comes. In a stream: `event: end`."""

    state: JobState
    """the job's; of a run's log too"""


class LogText(Answer):
    """Whole lines of a log, in their order, as far as they were kept."""

    attempt: int
    offset: int
    """of the byte behind the text, in the attempt's log"""
    text: str
    """without the last line's end"""
    kind: Literal["log"] = "log"
