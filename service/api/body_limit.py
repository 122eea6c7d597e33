"""No body larger than the bound is ever held in memory, whether it announces its length or comes in chunks."""

import re
from collections.abc import Mapping

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import problem_response


class BodyLimit:
    """Answers 413 before reading where Content-Length says too much, and while reading where chunks add up to it.

    `exceptions`: paths, as patterns that fit all of them, with a bound of their own.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, exceptions: Mapping[re.Pattern[str], int] | None = None
    ) -> None:
        self._app = app
        self._max_bytes = max_bytes
        self._exceptions = exceptions or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        max_bytes = next(
            (bound for path, bound in self._exceptions.items() if path.fullmatch(scope["path"])), self._max_bytes
        )
        detail = f"the body is larger than the {max_bytes} bytes that are read"
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isdecimal() and int(announced[:20]) > max_bytes:
            await problem_response(413, detail, headers={"Connection": "close"})(scope, receive, send)
            return
        read = 0

        async def receive_bounded() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > max_bytes:
                raise HTTPException(413, detail, headers={"Connection": "close"})
            return message

        await self._app(scope, receive_bounded, send)
