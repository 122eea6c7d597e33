"""No body larger than the bound is ever held in memory, whether it announces its length or comes in chunks."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import problem_response


class BodyLimit:
    """Answers 413 before reading where Content-Length says too much, and while reading where chunks add up to it."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        detail = f"the body is larger than the {self._max_bytes} bytes that are read"
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced[:20]) > self._max_bytes:
            await problem_response(413, detail, headers={"Connection": "close"})(scope, receive, send)
            return
        read = 0

        async def receive_bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._max_bytes:
                raise HTTPException(413, detail, headers={"Connection": "close"})
            return message

        await self._app(scope, receive_bounded, send)
