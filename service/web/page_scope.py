"""Around every answer a browser may show: the pages' headers, and a page in place of a problem in JSON."""

import json
import re
from http import HTTPStatus
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import MEDIA_TYPE
from service.web.rendering import render, signed_in

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "img-src 'self' data:",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_NOT_PAGES = re.compile(r"/(v1|docs|redoc|openapi\.json|static-offline-docs|healthz|readyz|metrics)(/|$)")


class PageScope:
    """Outermost of all: whatever refuses a request, a browser is told in words it can show.

    Paths of the API keep application/problem+json, whoever asks.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _NOT_PAGES.match(scope["path"]):
            await self._app(scope, receive, send)
            return
        await self._app(scope, receive, _Answer(scope, send))


class _Answer:
    """Passes an answer on; holds a problem back until it is whole and can be rewritten."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._held: Message | None = None
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            kind = headers.get("content-type", "")
            if kind.startswith(MEDIA_TYPE) and "text/html" in Headers(scope=self._scope).get("accept", ""):
                self._held = message
                return
            if kind.startswith("text/html"):
                _set_page_headers(headers)
        elif self._held is not None:
            self._body += message.get("body", b"")
            if message.get("more_body", False):
                return
            page = _problem_page(self._scope, self._body)
            headers = MutableHeaders(scope=self._held)
            headers["Content-Type"] = "text/html; charset=utf-8"
            headers["Content-Length"] = str(len(page))
            _set_page_headers(headers)
            await self._send(self._held)
            message = {"type": "http.response.body", "body": page}
        await self._send(message)


def _set_page_headers(headers: MutableHeaders) -> None:
    headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    # With no-referrer a browser would call the origin of our own forms "null".
    headers["Referrer-Policy"] = "same-origin"


def _problem_page(scope: Scope, body: bytes) -> bytes:
    try:
        problem = json.loads(body)
    except ValueError:  # the body was cut off, as for HEAD
        problem = {}
    settings = scope["app"].state.settings
    if problem.get("status") == HTTPStatus.UNAUTHORIZED:
        return render("sign_in.html", settings, next=_asked_page(scope), wrong=False).encode()
    return render(
        "problem.html",
        settings,
        signed_in=signed_in(scope),
        title=problem.get("title", "The request was refused"),
        detail=problem.get("detail", ""),
        status=problem.get("status", ""),
        fields=problem.get("errors", ()),
        request_id=problem.get("request_id"),
    ).encode()


def _asked_page(scope: Scope) -> str:
    """Where to go after signing in: the page that was asked for; what was to be changed is not done by itself."""
    if scope["method"] != "GET":
        return "/"
    query = scope["query_string"].decode("latin-1")
    return quote(scope["path"]) + (f"?{query}" if query else "")
