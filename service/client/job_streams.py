"""Following a job through streams that are taken up where they broke, and by asking again where there are none."""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeVar

import httpx

from service.client.connection import Connection, segment
from service.client.errors import ApiProblem, ClientError, NoStream, ServerUnreachable
from service.client.event_source import Message, messages
from service.jobs.answers import JobRead
from service.jobs.watch_answers import EventList, EventRead, LogGap, LogText, ProgressRead, StreamEnd

PATIENCE_S = 60.0
"""how long a service is borne that does not answer, or answers that it cannot now: it may be restarting"""
SILENCE_S = 20.0
"""a stream begins at once and sends a comment every 15 s; one that is silent for so long is held up or broken"""
FRUITLESS_TRIES = 3
"""streams in a row that break before they bring anything: something between here and the service allows none"""
RECONNECT_S = 1.0

Sleep = Callable[[float], None]
NewsT = TypeVar("NewsT")


class JobStreams(Connection):
    """The part of the client that follows jobs."""

    def events(
        self, job_id: str, *, after: int = 0, patience_s: float = PATIENCE_S, sleep: Sleep = time.sleep
    ) -> Iterator[EventRead | ProgressRead]:
        """Every change of the job's state behind the event `after`, each once and in order, and its progress, as they
        happen; ends with the job.

        Where streams are cut on the way, the changes of state are asked for once a second instead, and progress is not
        told.

        Args:
            job_id: the job.
            after: id of the last event that is known.
            patience_s: how long the service may be away.
            sleep: lets time pass between two tries.
        """
        try:
            for news in self.streamed_events(job_id, after=after, patience_s=patience_s, sleep=sleep):
                if isinstance(news, EventRead):
                    after = news.id
                yield news
        except NoStream:
            yield from self._asked_events(job_id, after, patience_s, sleep)

    def streamed_events(
        self, job_id: str, *, after: int = 0, patience_s: float = PATIENCE_S, sleep: Sleep = time.sleep
    ) -> Iterator[EventRead | ProgressRead]:
        """As `events`, but streamed or not at all.

        Raises:
            NoStream: what is between here and the service lets no stream through.
        """
        path = f"/v1/jobs/{segment(job_id)}/events"
        for message in self._reconnecting(path, {"after": str(after)}, patience_s, sleep):
            match message.event:
                case "state":
                    yield EventRead.model_validate_json(message.data)
                case "progress":
                    yield ProgressRead.model_validate_json(message.data)

    def event_page(self, job_id: str, *, after: int = 0, limit: int = 1000) -> EventList:
        """Changes of the job's state behind the event `after`, at most so many."""
        path, params = f"/v1/jobs/{segment(job_id)}/events", {"after": str(after), "limit": str(limit)}
        return self._call(EventList, "GET", path, params=params, headers={"Accept": "application/json"})

    def logs(
        self,
        job_id: str,
        *,
        run: str | None = None,
        attempt: int | None = None,
        offset: int = 0,
        follow: bool = True,
        patience_s: float = PATIENCE_S,
        sleep: Sleep = time.sleep,
    ) -> Iterator[LogText | LogGap]:
        """The log of the job, or of a study's run: whole lines, each once and in order.

        Args:
            job_id: the job.
            run: of a study; None: the job's own.
            attempt: where to begin; None: followed at the first, else the newest alone.
            offset: bytes of that attempt's log to leave out; negative: so many from its end.
            follow: go on as it grows, and with further attempts, until the job has ended.
            patience_s: how long the service may be away.
            sleep: lets time pass between two tries.
        """
        path = f"/v1/jobs/{segment(job_id)}/logs"
        where = {} if run is None else {"run": run}
        if not follow:
            yield from self._log_pieces(path, where, attempt, offset)
            return
        begin = (attempt or 1, offset)
        params = {**where, "attempt": str(begin[0]), "offset": str(begin[1])}
        try:
            for message in self._reconnecting(path, params, patience_s, sleep):
                match message.event:
                    case "log" if message.event_id is not None:
                        begin = _place(message.event_id)
                        yield LogText(attempt=begin[0], offset=begin[1], text=message.data)
                    case "gap":
                        yield LogGap.model_validate_json(message.data)
        except NoStream:
            yield from self._asked_logs(job_id, path, where, begin, patience_s, sleep)

    # --- streams

    def _reconnecting(self, path: str, params: Mapping[str, str], patience_s: float, sleep: Sleep) -> Iterator[Message]:
        """The messages of a stream until its `end`, each once, over as many connections as it takes.

        Raises:
            NoStream: connection after connection broke before it brought anything.
            ClientError: the service refused, or was away for too long.
        """
        last_id: str | None = None
        fruitless = 0
        heard_s = time.monotonic()
        while fruitless < FRUITLESS_TRIES:
            wait_s = RECONNECT_S
            fruitless += 1
            try:
                for message in self._connected(path, params, last_id):
                    if message.event == "end":
                        StreamEnd.model_validate_json(message.data)
                        return
                    yield message
                    last_id = message.event_id or last_id
                    fruitless = 0
                    heard_s = time.monotonic()
            except StreamCut:
                heard_s = time.monotonic()
            except ClientError as error:  # nobody is there, or has room: patience counts, not tries
                fruitless = 0
                wait_s = max(wait_s, error.retry_after_s or 0.0)
                if not error.may_pass or time.monotonic() - heard_s + wait_s > patience_s:
                    raise
            sleep(wait_s)
        raise NoStream(f"what is between here and {self.base_url} lets no stream through")

    def _connected(self, path: str, params: Mapping[str, str], last_id: str | None) -> Iterator[Message]:
        """The messages of one connection.

        Raises:
            StreamCut: it broke, after it had been opened.
            ClientError: it was not opened.
        """
        headers = {"Accept": "text/event-stream"} | ({} if last_id is None else {"Last-Event-ID": last_id})
        is_open = False
        try:
            with self._streamed(path, params=params, headers=headers, silence_s=SILENCE_S) as answer:
                if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                    raise NoStream(f"{self.base_url} answers without a stream")
                is_open = True
                yield from messages(answer.iter_bytes())
        except ServerUnreachable as error:  # one that holds everything back does not even let the beginning through
            if is_open or isinstance(error.__cause__, httpx.ReadTimeout):
                raise StreamCut(str(error)) from error
            raise
        raise StreamCut("the stream ended before its end was told")

    # --- asking again and again

    def _asked_events(self, job_id: str, after: int, patience_s: float, sleep: Sleep) -> Iterator[EventRead]:
        while True:
            # Asked before its events are: of a job that has ended all are there.
            job = self._patiently(partial(self._job, job_id), patience_s, sleep)
            more = True
            while more:
                found = self._patiently(partial(self.event_page, job_id, after=after), patience_s, sleep)
                for event in found.events:
                    after = event.id
                    yield event
                more = found.next_after is not None
            if job.state.is_terminal:
                return
            sleep(RECONNECT_S)

    def _asked_logs(
        self,
        job_id: str,
        path: str,
        where: Mapping[str, str],
        begin: tuple[int, int],
        patience_s: float,
        sleep: Sleep,
    ) -> Iterator[LogText | LogGap]:
        attempt, offset = begin
        while True:
            # Asked before the log is read: what an attempt that is over has said is all there.
            job = self._patiently(partial(self._job, job_id), patience_s, sleep)
            try:
                for piece in self._log_pieces(path, where, attempt, offset):
                    yield piece
                    if isinstance(piece, LogText):
                        offset = piece.offset
            except ApiProblem as problem:
                if problem.status != 404:  # this attempt has no log (yet)
                    raise
            if job.attempt > attempt:
                attempt, offset = attempt + 1, 0
            elif job.state.is_terminal:
                return
            else:
                sleep(RECONNECT_S)

    def _job(self, job_id: str) -> JobRead:
        return self._call(JobRead, "GET", f"/v1/jobs/{segment(job_id)}")

    def _log_pieces(
        self, path: str, where: Mapping[str, str], attempt: int | None, offset: int
    ) -> Iterator[LogText | LogGap]:
        """What one attempt's log has now, from the offset on."""
        while True:
            params = {**where, "offset": str(offset)} | ({} if attempt is None else {"attempt": str(attempt)})
            with self._understood(self._send("GET", path, params=params)) as answer:
                attempt, offset = int(answer.headers["Log-Attempt"]), int(answer.headers["Log-Offset"])
                dropped = int(answer.headers["Log-Dropped"])
                text = answer.text
            if dropped:
                yield LogGap(attempt=attempt, num_bytes=dropped)
            if text:
                yield LogText(attempt=attempt, offset=offset, text=text.removesuffix("\n"))
            if "next" not in answer.links:
                return

    @staticmethod
    def _patiently(ask: Callable[[], NewsT], patience_s: float, sleep: Sleep) -> NewsT:
        began_s = time.monotonic()
        while True:
            try:
                return ask()
            except ClientError as error:
                wait_s = max(RECONNECT_S, error.retry_after_s or 0.0)
                if not error.may_pass or time.monotonic() - began_s + wait_s > patience_s:
                    raise
                sleep(wait_s)


class StreamCut(ServerUnreachable):
    """A stream that had been opened broke before its end."""


def _place(event_id: str) -> tuple[int, int]:
    attempt, _, offset = event_id.partition(".")
    return int(attempt), int(offset)
