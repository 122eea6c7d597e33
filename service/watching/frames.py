"""Server-sent events as bytes, in FastAPI's words."""

from fastapi.sse import ServerSentEvent, format_sse_event
from pydantic import BaseModel

from service.jobs.states import JobState
from service.jobs.watch_answers import StreamEnd


def frame(event: str, answer: BaseModel, *, event_id: str | None = None) -> bytes:
    """An event whose data is the answer as JSON, on one line."""
    return _written(ServerSentEvent(event=event, raw_data=answer.model_dump_json(), id=event_id))


def text_frame(event: str, text: str, *, event_id: str) -> bytes:
    """An event whose data is the text as it is: each of its lines a line of data."""
    return _written(ServerSentEvent(event=event, raw_data=text, id=event_id))


def end_frame(state: JobState) -> bytes:
    """The last event: nothing more comes, and nobody need ask again."""
    return frame("end", StreamEnd(state=state))


def _written(event: ServerSentEvent) -> bytes:
    return format_sse_event(data_str=event.raw_data, event=event.event, id=event.id)
