"""In front of every route: nobody comes past without a key of the scope that the policy asks for."""

import math
from http.cookies import CookieError, SimpleCookie
from typing import Final

import structlog
from starlette import status
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import policy
from service.api.buckets import Buckets
from service.api.key_ring import KeyRing
from service.api.problems import problem_response, service_problem
from service.api.same_site import refuse_cross_site
from service.errors import ServiceError
from service.jobs import access
from service.queue.callers import Caller, called_by
from service.queue.key_records import Pass
from service.tokens import Token

COOKIE: Final = "sdcn_session"
WAY_IN: Final = (
    "send an API key as `Authorization: Bearer sdcn_...`, or in a browser sign in at /sign-in; an admin makes keys with"
    " `sdcn keys create NAME`, the operator the first with `python -m service.keys create NAME --scope admin`"
)


class Gate:
    """Refuses with 401 who shows no key that is good, with 429 who asks too often, and with 403 whose key may not do
    this; all others are known by name from here on. It stands before the body is read. A WebSocket, of which the
    service has none, is closed.

    Args:
        app: what is behind it.
        keys: which keys are good.
        is_open: whether nobody is asked, because the service is this machine's own.
    """

    def __init__(self, app: ASGIApp, *, keys: KeyRing, is_open: bool) -> None:
        self._app = app
        self._keys = keys
        self._is_open = is_open
        self._buckets = Buckets()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._is_open or scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": status.WS_1008_POLICY_VIOLATION})
            return
        wanted = policy.wanted_scope(scope["method"], scope["path"])
        if wanted is None:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            found, by_cookie = await self._look(headers)
            if found is not None and by_cookie:
                await _refuse_forged(Request(scope))
        except ServiceError as error:
            await service_problem(error)(scope, receive, send)
            return
        if found is None:
            await _unknown(_bearer(headers) is not None)(scope, receive, send)
        elif (wait_s := self._wait_s(found.caller)) > 0:
            await _too_many(found.caller, wait_s)(scope, receive, send)
        elif not found.caller.scope.covers(wanted):
            await _too_small(found.caller, wanted)(scope, receive, send)
        else:
            structlog.contextvars.bind_contextvars(key_id=found.caller.key_id)
            if by_cookie:
                scope.setdefault("state", {})["signed_in"] = found.caller.name
            with called_by(found.caller):
                await self._app(scope, receive, send)

    def _wait_s(self, caller: Caller) -> float:
        """0: it may ask now; else the seconds until it may."""
        if caller.requests_per_s is None or caller.key_id is None:
            return 0.0
        return self._buckets.wait_s(caller.key_id, caller.requests_per_s)

    async def _look(self, headers: Headers) -> tuple[Pass | None, bool]:
        """What was shown is good for, and whether a browser showed it by itself."""
        if (shown := _bearer(headers)) is not None:
            token = Token.parse(shown)
            return (None if token is None else await self._keys.admit(token, is_session=False)), False
        ticket = session_ticket(headers)
        return (None if ticket is None else await self._keys.admit(ticket, is_session=True)), True


def _bearer(headers: Headers) -> str | None:
    """What came as a key; None: nothing did. Other schemes may be meant for a proxy on the way."""
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    return shown.strip() if scheme.lower() == "bearer" else None


def session_ticket(headers: Headers) -> Token | None:
    """The token in the session's cookie; None: there is none."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return None if cookie is None else Token.parse(cookie.value)


async def _refuse_forged(request: Request) -> None:
    """A browser adds its cookie to whatever a page has it send, so that a change must come from a page of ours.

    Raises:
        CrossSiteRequest: it does not say so.
    """
    if request.method not in policy.SAFE_METHODS:
        await refuse_cross_site(request, is_browser=True)


def _unknown(was_shown: bool) -> Response:
    said = "the API key is not known, has expired or was revoked: " if was_shown else "this needs an API key: "
    challenge = 'Bearer realm="sdcn"' + (', error="invalid_token"' if was_shown else "")
    return problem_response(401, said + WAY_IN, title="No valid key", headers={"WWW-Authenticate": challenge})


def _too_small(caller: Caller, wanted: access.Scope) -> Response:
    challenge = f'Bearer realm="sdcn", error="insufficient_scope", scope="{wanted}"'
    return problem_response(
        403,
        f"this needs a key of scope {wanted}, and that of {caller.name} has scope {caller.scope}: ask an admin for one"
        f" (`sdcn keys create NAME --scope {wanted}`)",
        title="The key may not do this",
        headers={"WWW-Authenticate": challenge},
    )


def _too_many(caller: Caller, wait_s: float) -> Response:
    return problem_response(
        429,
        f"the key of {caller.name} may ask {caller.requests_per_s:g} times a second: ask again in {wait_s:.1f} s",
        title="Too many requests",
        headers={"Retry-After": str(math.ceil(wait_s))},
    )
