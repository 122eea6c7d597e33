"""An answer that is given before the request's body was read whole reaches its client all the same."""

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_S = 10.0
"""how long a client that was answered may go on sending what nobody reads"""


class LingeringClose:
    """Sends an early answer whole, then discards the rest of the body, and only then ends the exchange.

    A server that closes a connection on unread bytes has its kernel reset it, and a reset may overtake the answer: the
    client would see a broken connection in place of the sentence that says why. RFC 9112, section 9.6, asks servers to
    close in these steps. Nothing is held in memory, and after `linger_s` the connection is closed whatever comes.
    """

    def __init__(self, app: ASGIApp, *, linger_s: float = LINGER_S) -> None:
        self._app = app
        self._linger_s = linger_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _has_body(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        unread, unended = True, False

        async def receive_noting() -> Message:
            nonlocal unread
            message = await receive()
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def send_noting(message: Message) -> None:
            nonlocal unended
            if message["type"] == "http.response.body" and not message.get("more_body", False) and unread:
                unended = True
                message = {**message, "more_body": True}
            await send(message)

        await self._app(scope, receive_noting, send_noting)
        if unended:
            with anyio.move_on_after(self._linger_s):
                while unread:
                    await receive_noting()
            await send({"type": "http.response.body", "body": b""})


def _has_body(headers: Headers) -> bool:
    return "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
