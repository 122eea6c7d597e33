import math

import httpx
import pytest
from fastapi import FastAPI
from pydantic import JsonValue

from service.client import ApiProblem, SdcnClient, ServerUnreachable, UnsendableRequest
from service.jobs.specs import JOB_SPEC, TrainSpec
from service.jobs.states import FailureReason, JobState
from service.queue.records import Claim, Settlement
from service.queue.repository import JobQueue
from tests.service.api.test_jobs import RESULTS, start
from tests.service.in_process import InProcess
from tests.service.server import listening

TINY = TrainSpec(preset="tiny")


def test_a_job_goes_in_and_its_results_come_out(client: SdcnClient, jobs: JobQueue) -> None:
    job = client.submit(TINY)
    assert (job.state, job.name) == (JobState.QUEUED, "tiny")
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    assert client.get(job.id).state is JobState.SUCCEEDED
    assert client.results(job.id).trained.mean_corloc == 0.625


def test_a_refusal_is_an_error_with_its_fields(client: SdcnClient) -> None:
    with pytest.raises(ApiProblem, match=r"objective\.tau_0") as caught:
        client.submit(TrainSpec(preset="tiny", overrides={"objective.tau_0": -1}))
    assert caught.value.status == 422
    assert [error.field for error in caught.value.fields] == ["overrides.objective.tau_0"]


def test_validating_queues_nothing(client: SdcnClient) -> None:
    assert client.validate(TINY).total_steps == 20
    assert list(client.jobs()) == []


def test_listing_walks_through_all_pages(client: SdcnClient) -> None:
    made = {client.submit(TINY).id for _ in range(5)}
    assert {job.id for job in client.jobs(page_size=2)} == made
    assert list(client.jobs(states=[JobState.FAILED], page_size=2, kind="train")) == []


def test_cancelling_and_presets_come_through(client: SdcnClient) -> None:
    job = client.submit(TINY)
    assert client.cancel(job.id).state is JobState.CANCELLED
    assert "scenes" in [preset.name for preset in client.presets()]


def test_watching_ends_with_the_job(client: SdcnClient, jobs: JobQueue) -> None:
    job = client.submit(TINY)
    claims: list[Claim] = []

    def work(_interval_s: float) -> None:
        if claims:
            jobs.settle(claims[0], Settlement.failed(FailureReason.DIVERGED, "nan"))
        else:
            claims.append(start(jobs))

    seen = [look.state for look in client.watch(job.id, sleep=work)]
    assert seen == [JobState.QUEUED, JobState.RUNNING, JobState.FAILED]


def test_a_connection_that_breaks_after_the_submit_makes_no_second_job(transport: InProcess) -> None:
    broken: list[httpx.Request] = []

    class Breaks(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = transport.handle_request(request)
            if request.method == "POST" and not broken:
                broken.append(request)
                raise httpx.ReadError("connection reset")
            return answer

    with SdcnClient("http://localhost", transport=Breaks()) as client:
        job = client.submit(TINY)
        assert [found.id for found in client.jobs()] == [job.id]
    assert broken


class Time:
    """Passes where something waits."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_watching_bears_a_restart_but_not_for_ever(client: SdcnClient, transport: InProcess) -> None:
    job = client.submit(TINY)
    client.cancel(job.id)
    answers = iter([False, False, True])

    class Restarts(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if next(answers, False):
                return transport.handle_request(request)
            raise httpx.ConnectError("refused")

    time = Time()
    with SdcnClient("http://localhost", transport=Restarts()) as patient:
        assert [look.id for look in patient.watch(job.id, sleep=time.sleep, clock=time)] == [job.id]
        with pytest.raises(ServerUnreachable, match="sdcn up"):
            list(patient.watch(job.id, patience_s=3, sleep=time.sleep, clock=time))


def test_patience_is_counted_in_time_and_not_in_tries() -> None:
    time = Time()
    tries: list[float] = []

    class Hangs(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            tries.append(time())
            time.sleep(40)
            raise httpx.ReadTimeout("timed out")

    with SdcnClient("http://localhost", transport=Hangs()) as client, pytest.raises(ServerUnreachable):
        list(client.watch("a", patience_s=60, sleep=time.sleep, clock=time))
    assert tries == [0, 41]


def test_what_the_watcher_does_meanwhile_is_not_held_against_the_service(
    client: SdcnClient, transport: InProcess
) -> None:
    job = client.submit(TINY)
    answers = iter([True, False, True])

    class Stumbles(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if next(answers):
                return transport.handle_request(request)
            raise httpx.ConnectError("refused")

    time = Time()
    with SdcnClient("http://localhost", transport=Stumbles()) as watching:
        looks = watching.watch(job.id, sleep=time.sleep, clock=time)
        assert next(looks).state is JobState.QUEUED
        time.sleep(600)
        assert next(looks).state is JobState.QUEUED


@pytest.mark.parametrize(
    ("retry_after", "asked_at_s"), [("5", [0, 5, 10]), ("Fri, 31 Dec 1999 23:59:59 GMT", [0, 1, 2])]
)
def test_watching_asks_again_when_the_service_wants_to_be_asked(
    client: SdcnClient, transport: InProcess, retry_after: str, asked_at_s: list[float]
) -> None:
    job = client.submit(TINY)
    client.cancel(job.id)
    time = Time()
    tries: list[float] = []

    class Busy(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            tries.append(time())
            return transport.handle_request(request) if len(tries) == 3 else unavailable(retry_after)

    with SdcnClient("http://localhost", transport=Busy()) as patient:
        assert [look.id for look in patient.watch(job.id, sleep=time.sleep, clock=time)] == [job.id]
    assert tries == asked_at_s
    away = httpx.MockTransport(lambda _: unavailable("3600"))
    with SdcnClient("http://localhost", transport=away) as patient, pytest.raises(ApiProblem, match="not reachable"):
        list(patient.watch(job.id, sleep=time.sleep, clock=time))


def unavailable(retry_after: str) -> httpx.Response:
    problem = {"type": "about:blank", "title": "The queue is not reachable", "status": 503, "detail": "", "errors": []}
    return httpx.Response(503, json=problem, headers={"Retry-After": retry_after})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_this_machine_is_not_looked_for_behind_a_proxy(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://proxy.test:3128")
    with SdcnClient(f"http://{host}:8000") as here, SdcnClient("http://sdcn.test:8000") as elsewhere:
        assert here._http._mounts == {}
        assert elsewhere._http._mounts != {}


@pytest.mark.parametrize("content", [b"<html>hello</html>", b"{}"])
@pytest.mark.parametrize("status", [200, 404])
def test_something_else_at_the_address_is_told_apart(status: int, content: bytes) -> None:
    elsewhere = httpx.MockTransport(lambda _: httpx.Response(status, content=content))
    with SdcnClient("http://localhost", transport=elsewhere) as client, pytest.raises(ServerUnreachable, match="--url"):
        client.get("abc")


@pytest.mark.parametrize("status", [200, 404])
def test_an_answer_that_cannot_be_unpacked_is_something_elses(status: int) -> None:
    garbled = httpx.MockTransport(
        lambda _: httpx.Response(status, stream=httpx.ByteStream(b"plain"), headers={"Content-Encoding": "gzip"})
    )
    with SdcnClient("http://localhost", transport=garbled) as client, pytest.raises(ServerUnreachable, match="--url"):
        client.get("abc")


@pytest.mark.parametrize(
    ("value", "key"),
    [(math.nan, None), ("\udcff", None), (0.5, "ü"), (0.5, "a\nb")],
)
def test_what_cannot_be_sent_is_not_blamed_on_who_would_have_got_it(
    app: FastAPI, value: JsonValue, key: str | None
) -> None:
    spec = JOB_SPEC.validate_python({"preset": "tiny", "overrides": {"objective.tau_0": value}})
    with (
        listening(app) as url,
        SdcnClient(url) as client,
        pytest.raises(UnsendableRequest, match="cannot be written"),
    ):
        client.submit(spec, idempotency_key=key)


@pytest.mark.parametrize("job_id", ["\udcff", "../presets", "a/results", "", "?x=1", "\n"])
def test_what_is_no_id_does_not_reach_another_endpoint(client: SdcnClient, job_id: str) -> None:
    with pytest.raises(ApiProblem) as caught:
        client.get(job_id)
    assert caught.value.status in {404, 422}
