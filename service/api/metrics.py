"""What Prometheus asks for. The queue's figures and the workers' come from the database at each scrape, so that every
process of the API says the same; those of HTTP are this process's own.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

import structlog
from anyio import CapacityLimiter
from fastapi import APIRouter, Request
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.responses import Response

from service.api.dependencies import NO_PARAMETERS, SettingsDep
from service.api.http_figures import HttpFigures
from service.api.time_limit import NoAnswer, asked_within
from service.api.worker_metrics import worker_families
from service.disk import free_bytes
from service.errors import DatabaseUnavailable
from service.queue.figures import ATTEMPT_BUCKETS_S, EndedKind, QueueCounter, QueueFigures

log = structlog.get_logger()

router = APIRouter(tags=["health"], dependencies=[NO_PARAMETERS])

DATABASE_TIMEOUT_S: Final = 5.0
"""below the ten seconds after which Prometheus gives a scrape up: without its database the API still tells of itself"""
BUCKET_NAMES: Final = (*map(str, map(float, ATTEMPT_BUCKETS_S)), "+Inf")


class Figures:
    """All that one process of the API tells Prometheus."""

    def __init__(self, queue: QueueCounter) -> None:
        self.queue = queue
        self.registry = CollectorRegistry()
        self.http = HttpFigures(self.registry)
        self.threads = CapacityLimiter(2)
        ProcessCollector(registry=self.registry)


class _Now(Collector):
    """Families made for one scrape, besides those that a registry keeps."""

    def __init__(self, kept: CollectorRegistry, families: Sequence[Metric]) -> None:
        self._kept = kept
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._kept.collect()
        yield from self._families


@router.get(
    "/metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus' text format, or OpenMetrics where that is asked for",
            "content": {"text/plain": {}, "application/openmetrics-text": {}},
        }
    },
)
async def metrics(request: Request, settings: SettingsDep) -> Response:
    """Figures for Prometheus; docs/operating.md explains each. Without its database the API tells of itself alone."""
    figures: Figures = request.app.state.figures
    families: list[Metric] = []
    try:
        found = await asked_within(DATABASE_TIMEOUT_S, figures.queue.count, figures.threads)
    except (DatabaseUnavailable, NoAnswer) as error:
        found = None
        log.warning("metrics.without_queue", reason=error.detail)
    families.append(_gauge("sdcn_database_up", "Whether the queue's database answered.", float(found is not None)))
    if found is not None:
        families += [*queue_families(found), *worker_families(found.workers)]
    free = free_bytes(settings.home)
    if free is not None:
        families.append(_gauge("sdcn_disk_free_bytes", "Free on the disk of the service's home.", free))
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(_Now(figures.registry, families)), media_type=content_type)


def queue_families(figures: QueueFigures) -> Iterator[Metric]:
    """The queue's figures in Prometheus' words."""
    jobs = GaugeMetricFamily("sdcn_jobs", "Jobs that are there.", labels=("state", "kind"))
    for (state, kind), count in sorted(figures.jobs.items()):
        jobs.add_metric((state, kind), count)
    yield jobs
    yield _gauge(
        "sdcn_oldest_waiting_seconds",
        "How long the oldest job that could be claimed has been waiting; 0: none waits.",
        figures.oldest_waiting_s or 0.0,
    )
    claims = CounterMetricFamily("sdcn_claims", "Times that a job was claimed by a worker.", labels=("kind",))
    for kind, count in sorted(figures.claims().items()):
        claims.add_metric((kind,), count)
    yield claims
    ended = CounterMetricFamily(
        "sdcn_attempts_ended",
        "Attempts that ended, by the state their job went to and why; outcome retry_wait is a retry.",
        labels=("kind", "outcome", "reason"),
    )
    for key in sorted(figures.ended, key=_in_order):
        found = figures.ended[key]
        ended.add_metric((key.kind, key.outcome, key.reason or "none"), found.count)
    yield ended
    durations = HistogramMetricFamily(
        "sdcn_attempt_seconds", "From an attempt's claim to its end.", labels=("kind", "outcome")
    )
    for labels, lasted in sorted(figures.durations().items(), key=lambda item: item[0]):
        buckets = list(zip(BUCKET_NAMES, accumulate(lasted.by_bucket), strict=True))
        durations.add_metric(labels, buckets, lasted.seconds)
    yield durations


def _in_order(key: EndedKind) -> tuple[str, str, str]:
    return key.kind, key.outcome, key.reason


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)
