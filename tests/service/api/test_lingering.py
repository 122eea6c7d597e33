from collections.abc import Sequence

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.lingering import LingeringClose

END: Message = {"type": "http.response.body", "body": b""}


async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers at once, whatever was sent."""
    await PlainTextResponse("no", 413)(scope, receive, send)


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the size of the body."""
    await PlainTextResponse(str(len(await Request(scope, receive).body())))(scope, receive, send)


def exchange(
    app: ASGIApp, pieces: Sequence[Message], headers: Sequence[tuple[bytes, bytes]], *, linger_s: float = 60
) -> tuple[list[Message], list[Message]]:
    """What was sent, and what was left unread; a client that has sent its pieces is silent for ever."""
    left, sent = list(pieces), list[Message]()

    async def receive() -> Message:
        if not left:
            await anyio.sleep_forever()
        return left.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers)}
    anyio.run(LingeringClose(app, linger_s=linger_s), scope, receive, send)
    return sent, left


def piece(size: int, *, more: bool) -> Message:
    return {"type": "http.request", "body": bytes(size), "more_body": more}


BODY = [piece(10, more=True), piece(10, more=True), piece(5, more=False)]
LENGTH = [(b"content-length", b"25")]


@pytest.mark.parametrize("headers", [LENGTH, [(b"transfer-encoding", b"chunked")]])
def test_an_early_answer_is_whole_before_the_rest_of_the_body_is_discarded(
    headers: Sequence[tuple[bytes, bytes]],
) -> None:
    sent, left = exchange(refusing, BODY, headers)
    assert [(message.get("body"), message.get("more_body")) for message in sent[1:]] == [(b"no", True), (b"", None)]
    assert left == []


def test_a_client_that_leaves_is_not_waited_for() -> None:
    sent, _ = exchange(refusing, [piece(10, more=True), {"type": "http.disconnect"}], LENGTH)
    assert sent[-1] == END


def test_a_client_that_stalls_is_waited_for_so_long_and_no_longer() -> None:
    sent, left = exchange(refusing, BODY[:2], LENGTH, linger_s=0.01)
    assert (sent[-1], left) == (END, [])


def test_an_answer_to_a_body_that_was_read_is_passed_on_as_it_is() -> None:
    sent, _ = exchange(reading, BODY, LENGTH)
    assert [message.get("body") for message in sent[1:]] == [b"25"]


def test_a_request_without_a_body_is_not_listened_to() -> None:
    sent, left = exchange(refusing, BODY, [])
    assert [message.get("body") for message in sent[1:]] == [b"no"]
    assert left == BODY
