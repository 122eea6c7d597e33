import httpx
import pytest

from service.client import ApiProblem, SdcnClient, ServerUnreachable
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason, JobState
from service.queue.records import Claim, Settlement
from service.queue.repository import JobQueue
from tests.service.api.test_jobs import RESULTS, start
from tests.service.in_process import InProcess

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


def test_watching_bears_a_restart_but_not_for_ever(client: SdcnClient, transport: InProcess) -> None:
    job = client.submit(TINY)
    client.cancel(job.id)
    answers = iter([False, False, True])

    class Restarts(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            if next(answers, False):
                return transport.handle_request(request)
            raise httpx.ConnectError("refused")

    with SdcnClient("http://localhost", transport=Restarts()) as patient:
        assert [look.id for look in patient.watch(job.id, sleep=lambda _: None)] == [job.id]
        with pytest.raises(ServerUnreachable, match="sdcn up"):
            list(patient.watch(job.id, patience_s=3, sleep=lambda _: None))


@pytest.mark.parametrize("content", [b"<html>hello</html>", b"{}"])
@pytest.mark.parametrize("status", [200, 404])
def test_something_else_at_the_address_is_told_apart(status: int, content: bytes) -> None:
    elsewhere = httpx.MockTransport(lambda _: httpx.Response(status, content=content))
    with SdcnClient("http://localhost", transport=elsewhere) as client, pytest.raises(ServerUnreachable, match="--url"):
        client.get("abc")


@pytest.mark.parametrize("job_id", ["../presets", "a/results", "", "?x=1", "\n"])
def test_what_is_no_id_does_not_reach_another_endpoint(client: SdcnClient, job_id: str) -> None:
    with pytest.raises(ApiProblem) as caught:
        client.get(job_id)
    assert caught.value.status in {404, 422}
