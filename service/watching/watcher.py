"""Many streams, one poller: it asks the database once for all of them, and reads their files one after the other.

A stream costs no thread and, while nothing happens, no work but a comment every few seconds. What its listener has not
taken yet is not added to, so a slow one costs nobody anything and misses nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable

import structlog
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import KEEPALIVE_COMMENT

from service.errors import ServiceError, TooManyStreams
from service.queue.event_log import EventLog
from service.watching.followers import Follower, Seen

log = structlog.get_logger()

INTERVAL_S = 0.5
PING_S = 15.0
RETRY_FRAME = b"retry: 2000\n\n"
"""what a browser waits before it connects again, ms"""


class Stream:
    """What one listener is sent; made by Watcher.open."""

    def __init__(self, watcher: "Watcher", follower: Follower, *, ping_s: float) -> None:
        self.follower = follower
        self.told: list[bytes] = []
        """by the poller, not yet seen by the listener's task"""
        self._watcher = watcher
        self._ping_s = ping_s
        self._waiting: list[bytes] = []
        self._ready = asyncio.Event()
        self._is_closed = False

    @property
    def is_drained(self) -> bool:
        """Whether the listener has taken all it was told."""
        return not self._waiting and not self._is_closed

    def deliver(self) -> None:
        """Hand on what was told; on the event loop."""
        if self.told:
            self._waiting, self.told = self.told, []
            self._ready.set()

    def close(self) -> None:
        """Send nothing more; the listener may connect again where it left off."""
        self._is_closed = True
        self._ready.set()

    async def frames(self) -> AsyncIterator[bytes]:
        """The stream's bytes until it is over or closed."""
        yield RETRY_FRAME
        while not self._is_closed:
            try:
                async with asyncio.timeout(self._ping_s):
                    await self._ready.wait()
            except TimeoutError:
                yield KEEPALIVE_COMMENT
                continue
            self._ready.clear()
            if self._waiting:
                yield b"".join(self._waiting)
            self._waiting = []
            if self.follower.is_over:
                return
            if self.follower.is_behind:
                self._watcher.wake()

    def release(self) -> None:
        """Give its place to another."""
        self._watcher.forget(self)


class Watcher:
    """All open streams of a process. Everything but the looking itself happens on the event loop."""

    def __init__(
        self, events: EventLog, *, max_streams: int, interval_s: float = INTERVAL_S, ping_s: float = PING_S
    ) -> None:
        self._events = events
        self._max_streams = max_streams
        self._interval_s = interval_s
        self._ping_s = ping_s
        self._streams: set[Stream] = set()
        self._seen: dict[str, Seen] = {}
        self._wake = asyncio.Event()
        self._poller: asyncio.Task[None] | None = None
        self._is_closing = False

    @property
    def num_streams(self) -> int:
        return len(self._streams)

    def open(self, follower: Follower) -> Stream:
        """A stream that tells what the follower finds; whoever gets it calls `release` at its end.

        Raises:
            TooManyStreams: there are too many, or the service is about to stop.
        """
        if self._is_closing:
            raise TooManyStreams("the service is about to stop; connect again in a moment")
        if len(self._streams) >= self._max_streams:
            raise TooManyStreams(
                f"{self._max_streams} streams are open, and there may be no more (SDCN_MAX_STREAMS): try again in a"
                " moment, or ask now and then without streaming"
            )
        stream = Stream(self, follower, ping_s=self._ping_s)
        self._streams.add(stream)
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll(), name="watcher")
        self.wake()
        return stream

    def wake(self) -> None:
        """Look now and not only when it is time."""
        self._wake.set()

    def forget(self, stream: Stream) -> None:
        self._streams.discard(stream)

    def close(self) -> None:
        """End all streams, and open none any more: the server stops."""
        self._is_closing = True
        for stream in self._streams:
            stream.close()
        self.wake()

    async def _poll(self) -> None:
        try:
            while self._streams and not self._is_closing:
                self._wake.clear()
                await self._look()
                try:
                    async with asyncio.timeout(self._interval_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue
        except Exception:  # a defect: listeners must not wait for ever, and find their place when they come back
            log.exception("watcher.failed")
            for stream in self._streams:
                stream.close()
        finally:
            self._poller = None

    async def _look(self) -> None:
        due = [stream for stream in self._streams if stream.is_drained]
        if not due:
            return
        try:
            gone = await run_in_threadpool(self._advance, due)
        except ServiceError as error:  # the database is away: the streams stay, and go on when it is back
            log.warning("watcher.queue_unreachable", reason=str(error))
            return
        for stream in due:
            stream.deliver()
        for stream in gone:
            stream.close()

    def _advance(self, due: list[Stream]) -> list[Stream]:
        """Have each stream told what is new; those whose job is gone, or cannot be read. In a thread of its own.

        Raises:
            ServiceError: the database does not answer.
        """
        self._renew({stream.follower.job_id for stream in due})
        gone = []
        for stream in due:
            seen = self._seen.get(stream.follower.job_id)
            try:
                if seen is None:
                    gone.append(stream)
                else:
                    stream.told = stream.follower.advance(seen)
            except OSError as error:
                log.warning("watcher.unreadable", job_id=stream.follower.job_id, reason=str(error))
                gone.append(stream)
        return gone

    def _renew(self, job_ids: Iterable[str]) -> None:
        known = {job_id: self._seen[job_id].events if job_id in self._seen else () for job_id in job_ids}
        news = self._events.look({job_id: events[-1].event_id if events else 0 for job_id, events in known.items()})
        self._seen = {
            job_id: Seen(attempt=new.attempt, progress=new.progress, events=known[job_id] + new.events)
            for job_id, new in news.items()
        }
