"""A receiver that trusts nobody: it verifies as https://www.standardwebhooks.com describes, without our code."""

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOLERANCE_S = 5 * 60
Answer = Callable[["Receiver"], int]
"""what to answer to the message that has just come in"""


class Receiver:
    """What came in; `answer` decides what is answered."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.messages: list[tuple[dict[str, str], bytes]] = []
        self.came = threading.Condition()
        self.url = ""

    def wait_for(self, count: int, timeout_s: float = 20) -> None:
        with self.came:
            assert self.came.wait_for(lambda: len(self.messages) >= count, timeout_s), f"{len(self.messages)} came"

    def verified(self, secret: str) -> list[dict[str, Any]]:
        return [verify(headers, body, secret) for headers, body in self.messages]


def verify(headers: dict[str, str], body: bytes, secret: str, *, now_s: float | None = None) -> dict[str, Any]:
    """The message, if its signature is good."""
    sent_s = int(headers["webhook-timestamp"])
    assert abs((time.time() if now_s is None else now_s) - sent_s) < TOLERANCE_S
    kind, _, key = secret.partition("_")
    assert kind == "whsec"
    signed = b".".join([headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body])
    good = base64.b64encode(hmac.new(base64.b64decode(key), signed, hashlib.sha256).digest()).decode()
    versions = [part.split(",", 1) for part in headers["webhook-signature"].split(" ")]
    assert any(version == "v1" and hmac.compare_digest(signature, good) for version, signature in versions)
    message: dict[str, Any] = json.loads(body)
    return message


@contextmanager
def receiving(answer: Answer = lambda _: 204) -> Iterator[Receiver]:
    receiver = Receiver(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with receiver.came:
                receiver.messages.append(({name.lower(): value for name, value in self.headers.items()}, body))
                receiver.came.notify_all()
            status = receiver.answer(receiver)
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", f"{receiver.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
