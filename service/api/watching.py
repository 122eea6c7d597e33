"""Following a job: its events and its log, as streams of server-sent events or asked for piece by piece."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import EventSourceResponse
from pydantic import Field
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from service.api.dependencies import EventLogDep, JobId, Parameters, QueueDep, SettingsDep, WatcherDep
from service.api.documentation import problems
from service.api.study_runs import RunName
from service.errors import InvalidRequest
from service.jobs.watch_answers import EventList
from service.queue.records import Job
from service.run_files.folders import RunFiles, job_files
from service.run_files.logs import LogChunk, find_log, log_path, read_log
from service.watching.event_follower import EventFollower, describe_event
from service.watching.log_follower import LogFollower, Place
from service.watching.watcher import Stream

router = APIRouter(prefix="/v1/jobs", tags=["watching"])

EVENT_STREAM = "text/event-stream"
MAX_ID = 2**63 - 1


def _stream_of(*events: str) -> dict[str, Any]:
    """The content of an answer whose events are these, in OpenAPI's words for a stream."""
    event = {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"type": "string", "enum": list(events)},
            "data": {"type": "string"},
            "id": {"type": "string"},
        },
    }
    return {EVENT_STREAM: {"itemSchema": event}}


_LOG_HEADERS = {
    "Log-Attempt": {"description": "the attempt whose log it is; 0: there is none yet", "schema": {"type": "integer"}},
    "Log-Offset": {"description": "where the next piece begins, in bytes", "schema": {"type": "integer"}},
    "Log-Size": {"description": "bytes that the log has", "schema": {"type": "integer"}},
    "Log-Dropped": {"description": "bytes before this piece that are no longer kept", "schema": {"type": "integer"}},
}

LastEventId = Annotated[
    str | None,
    Header(alias="Last-Event-ID", max_length=100, description="of the last event that arrived: the stream goes on"),
]
Accept = Annotated[str, Header(include_in_schema=False)]


class EventParameters(Parameters):
    after: int = Field(default=0, ge=0, le=MAX_ID)
    """id of the last event that is known"""
    limit: int = Field(default=200, ge=1, le=1000)
    """of events in a page; a stream has no end but the job's"""


class LogParameters(Parameters):
    run: RunName | None = None
    """of a study; none: the job's own"""
    attempt: int | None = Field(default=None, ge=1, le=999_999)
    """none: the newest with a log; where the log is streamed, all from the first on"""
    offset: int = Field(default=0, ge=-(2**53), le=2**53)
    """bytes of the attempt's log to leave out; negative: so many from its end, from the next line on"""
    limit: int = Field(default=1024 * 1024, ge=1024, le=8 * 1024 * 1024)
    """bytes at most, whole lines; a stream has no bound"""


class _StreamResponse(EventSourceResponse):
    """Sends a stream, and gives its place to another whichever way it ends."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        # Proxies of nginx's kind would otherwise hold events back until many have come together.
        super().__init__(stream.frames(), headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._stream.release()


@router.get(
    "/{job_id}/events",
    response_class=Response,
    responses={
        200: {
            "model": EventList,
            "description": "A stream of events `state`, `progress` and at last `end`; asked for as application/json, a"
            " page of the changes of state",
            "content": _stream_of("state", "progress", "end"),
        },
        **problems(
            _400="Last-Event-ID is none of this stream",
            _404="no such job",
            _422="a parameter is not valid",
            _503="too many streams are open",
        ),
    },
)
async def get_events(
    job_id: JobId,
    parameters: Annotated[EventParameters, Query()],
    events: EventLogDep,
    watcher: WatcherDep,
    accept: Accept = EVENT_STREAM,
    last_event_id: LastEventId = None,
) -> Response:
    """Every change of the job's state, from the first one on, and its progress, while they happen.

    A connection that breaks is taken up again with Last-Event-ID, and nothing is missed or told twice. After `end`
    nothing comes any more.
    """
    if "application/json" in accept and EVENT_STREAM not in accept:
        page = await run_in_threadpool(events.page, job_id, after=parameters.after, limit=parameters.limit)
        told = tuple(map(describe_event, page))
        answer = EventList(events=told, next_after=told[-1].id if len(told) == parameters.limit else None)
        return Response(answer.model_dump_json(), media_type="application/json")
    after = parameters.after if last_event_id is None else _event_number(last_event_id)
    await run_in_threadpool(events.page, job_id, after=MAX_ID, limit=1)  # whether there is such a job
    return _StreamResponse(watcher.open(EventFollower(job_id, after=after)))


@router.get(
    "/{job_id}/logs",
    response_class=PlainTextResponse,
    responses={
        200: {
            "description": "A piece of an attempt's log as text; asked for as text/event-stream, a stream of events"
            " `log`, `gap` and at last `end` over all attempts",
            "content": {"text/plain": {"schema": {"type": "string"}}, **_stream_of("log", "gap", "end")},
            "headers": _LOG_HEADERS,
        },
        **problems(
            _400="Last-Event-ID is none of this stream",
            _404="no such job, run or log",
            _422="a parameter is not valid",
            _503="too many streams are open",
        ),
    },
)
async def get_logs(
    job_id: JobId,
    parameters: Annotated[LogParameters, Query()],
    queue: QueueDep,
    settings: SettingsDep,
    watcher: WatcherDep,
    request: Request,
    accept: Accept = "*/*",
    last_event_id: LastEventId = None,
) -> Response:
    """What the job's processes have written: stdout, stderr and their log.

    A piece ends with a whole line; `Log-Offset` is where the next one begins, and `Link` leads there while there is
    more. In a stream each event has the lines that have come together as its data, and as its id the attempt and the
    byte behind them: with Last-Event-ID nothing is missed or told twice.
    """
    job = await run_in_threadpool(queue.get, job_id)
    files = await run_in_threadpool(job_files, settings.runs, job_id, parameters.run)
    if EVENT_STREAM in accept:
        begin = Place(parameters.attempt or 1, parameters.offset)
        place = begin if last_event_id is None else Place.parse(last_event_id)
        follower = LogFollower(job_id, files, place, is_run=parameters.run is not None)
        return _StreamResponse(watcher.open(follower))
    attempt, chunk = await run_in_threadpool(_piece, job, files, parameters)
    headers = {
        "Log-Attempt": str(attempt),
        "Log-Offset": str(chunk.next_offset),
        "Log-Size": str(chunk.size),
        "Log-Dropped": str(chunk.dropped),
    }
    if parameters.offset != chunk.next_offset < chunk.size:
        following = request.url.include_query_params(attempt=attempt, offset=chunk.next_offset)
        headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return PlainTextResponse(chunk.text.decode(errors="replace"), headers=headers)


def _piece(job: Job, files: RunFiles, parameters: LogParameters) -> tuple[int, LogChunk]:
    attempt = find_log(files, parameters.attempt)
    if attempt is None:
        return 0, LogChunk(b"", 0, 0, 0)
    finished = job.state.is_terminal or job.attempt > attempt
    path = log_path(files, attempt)
    return attempt, read_log(path, parameters.offset, limit=parameters.limit, finished=finished)


def _event_number(text: str) -> int:
    """The number in a Last-Event-ID.

    Raises:
        InvalidRequest: there is none.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise InvalidRequest("Last-Event-ID is not one this stream gave out; leave it out to begin at the beginning")
    return min(int(text), MAX_ID)
