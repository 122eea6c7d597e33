"""Around every request: its id, its line in the log, the headers of every answer, and the last catch."""

import re
import secrets
import time

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import internal_error, problem_response

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
_DOCS = "/docs"
_POLICY = "default-src 'none'; frame-ancestors 'none'"
_DOCS_POLICY = (
    "default-src 'self'; img-src 'self' data:; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " frame-ancestors 'none'; base-uri 'none'"
)
"""Swagger's page begins with a script in the page itself; nothing of what clients have sent is on it"""
_ASKED_OFTEN = frozenset({"/healthz", "/readyz", "/metrics"})
"""by machines, every few seconds"""


class RequestScope:
    """Names a request (X-Request-ID, the client's if it is harmless), logs it, and lets no exception through.

    `hosts`: names a request may come under; None: any. A page of a foreign site whose name was made to point at
    loopback (DNS rebinding) comes under its own name.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str] | None) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        began = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), request_id, docs=scope["path"].startswith(_DOCS))
            await send(message)

        try:
            if self._hosts is not None and _host_name(headers.get("host", "")) not in self._hosts:
                refusal = problem_response(421, "this service does not go by that name; SDCN_ALLOWED_HOSTS adds names")
                await refusal(scope, receive, send_with_headers)
            else:
                await self._app(scope, receive, send_with_headers)
        except Exception:
            log.exception("request.failed")
            if status:  # the answer has begun, so the only sign left is to break off
                raise
            await internal_error()(scope, receive, send_with_headers)
        finally:
            duration_ms = round((time.perf_counter() - began) * 1000, 1)
            quiet = scope["path"] in _ASKED_OFTEN and status < 400
            write = log.debug if quiet else log.info
            write("request", method=scope["method"], path=scope["path"], status=status, duration_ms=duration_ms)


def _host_name(host: str) -> str:
    return re.sub(r":\d+$", "", host).lower()


def _add_headers(headers: MutableHeaders, request_id: str, *, docs: bool) -> None:
    headers["X-Request-ID"] = request_id
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "no-referrer"
    headers["X-Frame-Options"] = "DENY"
    headers.setdefault("Cache-Control", "no-store")
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers.setdefault("Content-Security-Policy", _DOCS_POLICY if docs else _POLICY)
