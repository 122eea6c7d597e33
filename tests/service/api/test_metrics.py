"""GET /metrics as Prometheus reads it."""

import anyio
import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError
from starlette.types import Message, Receive, Scope, Send

from service.api.http_figures import HttpFigures, HttpMeter
from service.app import create_app
from service.jobs.states import FailureReason
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from tests.service.in_process import serving


def samples(answer: httpx.Response) -> dict[tuple[str, ...], float]:
    """Each sample's value by its name and the values of its labels in the order of their names."""
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def names(answer: httpx.Response) -> set[str]:
    return {sample[0] for sample in samples(answer)}


def test_prometheus_reads_what_the_queue_has_done(api: httpx.Client, jobs: JobQueue) -> None:
    for _ in range(3):
        api.post("/v1/jobs", json={"preset": "tiny"})
    for settlement in (Settlement.succeeded({}), Settlement.retry(FailureReason.INFRASTRUCTURE, "disk")):
        claim = jobs.claim("w", lease_s=60)
        assert claim is not None
        jobs.start(claim)
        jobs.settle(claim, settlement)
    found = samples(api.get("/metrics"))
    assert found["sdcn_jobs", "train", "succeeded"] == 1
    assert found["sdcn_jobs", "train", "queued"] == 1
    assert found["sdcn_claims_total", "train"] == 2
    assert found["sdcn_attempts_ended_total", "train", "retry_wait", "infrastructure"] == 1
    assert found["sdcn_attempt_seconds_count", "train", "succeeded"] == 1
    assert found["sdcn_attempt_seconds_bucket", "train", "+Inf", "succeeded"] == 1
    assert found["sdcn_oldest_waiting_seconds",] >= 0
    assert found["sdcn_database_up",] == 1
    assert found["sdcn_disk_free_bytes",] > 0
    assert found["process_resident_memory_bytes",] > 0


def test_requests_are_counted_by_the_template_of_their_route(api: httpx.Client) -> None:
    for job_id in ("1a", "2b", "3c"):
        assert api.get(f"/v1/jobs/{job_id}").status_code == 404
    api.get("/v1/jobs")
    found = samples(api.get("/metrics"))
    assert found["sdcn_http_requests_total", "GET", "/v1/jobs/{job_id}", "404"] == 3
    assert found["sdcn_http_request_seconds_count", "GET", "/v1/jobs"] == 1


def test_whatever_is_asked_for_makes_no_more_series(api: httpx.Client) -> None:
    for number in range(20):
        api.get(f"/nowhere/{number}")
        api.request(f"BREW{number}", "/v1/jobs")
        api.get(f"/static/{number}.css")
        api.get("/v1/jobs", params={"cursor": str(number)})
    series = [sample for sample in samples(api.get("/metrics")) if sample[0] == "sdcn_http_requests_total"]
    assert len(series) <= 6, series
    assert ("sdcn_http_requests_total", "GET", "none", "404") in series


def test_a_stream_is_open_until_it_ends() -> None:
    figures = HttpFigures(CollectorRegistry())
    open_while_sent: list[float] = []

    def open_streams() -> float:
        return sum(sample.value for family in figures.streams.collect() for sample in family.samples)

    async def stream(scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        open_while_sent.append(open_streams())
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": False})

    async def ignore(_message: Message) -> None: ...

    scope = {"type": "http", "method": "GET", "path": "/v1/jobs/1a/events"}
    anyio.run(HttpMeter(stream, figures=figures), scope, None, ignore)
    assert open_while_sent == [1]
    assert open_streams() == 0


def test_every_process_tells_the_same_of_the_queue(api: httpx.Client, settings: ServiceSettings) -> None:
    api.post("/v1/jobs", json={"preset": "tiny"})
    with (
        serving(create_app(settings)) as transport,
        httpx.Client(transport=transport, base_url="http://localhost") as b,
    ):
        told = [samples(one.get("/metrics")) for one in (api, b)]
    of_the_queue = [{k: v for k, v in one.items() if k[0].startswith(("sdcn_jobs", "sdcn_claims"))} for one in told]
    assert of_the_queue[0] == of_the_queue[1] != {}
    assert ("sdcn_http_requests_total", "POST", "/v1/jobs", "202") not in told[1], "that was another process"


def test_without_its_database_the_api_tells_of_itself(
    api: httpx.Client, jobs: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("gone"))

    monkeypatch.setattr(jobs.transactions.engine, "connect", down)
    found = samples(api.get("/metrics"))
    assert found["sdcn_database_up",] == 0
    assert ("process_resident_memory_bytes",) in found
    assert not any(name.startswith("sdcn_jobs") for name, *_ in found)


def test_who_asks_for_openmetrics_gets_it(api: httpx.Client) -> None:
    answer = api.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
