"""What this process answers, counted: requests by route, method and status, their times, and streams that are open."""

import time
from http import HTTPMethod
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LATENCY_BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
NO_ROUTE: Final = "none"
"""of requests for what is not there: their paths are anybody's, and each would be a series"""
NO_METHOD: Final = "other"
EVENT_STREAM: Final = "text/event-stream"
_METHODS: Final = frozenset(HTTPMethod)


class HttpFigures:
    """The counts of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "sdcn_http_requests", "Requests answered.", ("route", "method", "status"), registry=registry
        )
        self.latency = Histogram(
            "sdcn_http_request_seconds",
            "From a request until its answer began.",
            ("route", "method"),
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.streams = Gauge("sdcn_http_open_streams", "Streams of events being sent.", ("route",), registry=registry)


class HttpMeter:
    """Counts every request when its answer begins, and a stream until it ends."""

    def __init__(self, app: ASGIApp, *, figures: HttpFigures) -> None:
        self._app = app
        self._figures = figures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        stream: Gauge | None = None

        async def send_counted(message: Message) -> None:
            nonlocal stream
            if message["type"] == "http.response.start":
                route = _route_of(scope)
                method = scope["method"] if scope["method"] in _METHODS else NO_METHOD
                self._figures.requests.labels(route, method, str(message["status"])).inc()
                self._figures.latency.labels(route, method).observe(time.perf_counter() - began)
                if Headers(raw=message["headers"]).get("content-type", "").startswith(EVENT_STREAM):
                    stream = self._figures.streams.labels(route)
                    stream.inc()
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            if stream is not None:
                stream.dec()


def _route_of(scope: Scope) -> str:
    """The template of the route that answers: /v1/jobs/{job_id}."""
    route = scope.get("route")
    template = getattr(route, "path_format", None) or getattr(route, "path", None)
    return template if isinstance(template, str) and template else NO_ROUTE
