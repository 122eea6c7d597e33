from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI


class InProcess(httpx.BaseTransport):
    """Sends requests to an ASGI application in this process, from code that is not asynchronous."""

    def __init__(self, portal: BlockingPortal, app: FastAPI) -> None:
        self._portal = portal
        self._asgi = httpx.ASGITransport(app, raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def handle() -> httpx.Response:
            answer = await self._asgi.handle_async_request(request)
            return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

        if isinstance(request.stream, httpx.ByteStream):
            return self._portal.call(handle)
        body = b"".join(request.stream) if isinstance(request.stream, httpx.SyncByteStream) else b""
        request.stream = _Chunks(body)
        return self._portal.call(handle)


class _Chunks(httpx.AsyncByteStream):
    """A body in pieces of a kilobyte, without a length that is known before."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 1024):
            yield self._body[start : start + 1024]


@contextmanager
def serving(app: FastAPI) -> Iterator[InProcess]:
    """The application, started and at the end stopped."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(app.router.lifespan_context(app)):
        yield InProcess(portal, app)
