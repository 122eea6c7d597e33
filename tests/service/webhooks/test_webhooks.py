"""Webhooks from the registration to the receipt, through the API's own process."""

import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from service.app import create_app
from service.client import ApiProblem, SdcnClient, cli, terminal
from service.jobs.specs import TrainSpec
from service.jobs.states import DeliveryState, FailureReason, JobState
from service.jobs.webhook_answers import WebhookSpec
from service.queue import outbox
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from service.queue.retry import RetryPolicy
from service.settings import ServiceSettings
from tests.service.api.test_jobs import start
from tests.service.logged import logged
from tests.service.server import listening
from tests.service.webhooks.receiver import Receiver, receiving

TINY = TrainSpec(preset="tiny")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow one another at once."""
    monkeypatch.setattr(outbox, "BACK_OFF", RetryPolicy(base_s=0.01, factor=1))


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path) -> ServiceSettings:
    shutil.copy(sqlite_template, tmp_path / "queue.db")
    return ServiceSettings(home=tmp_path, webhook_allow_private=True, webhook_timeout_s=0.5)


@pytest.fixture
def app(settings: ServiceSettings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[SdcnClient]:
    with listening(app) as url, SdcnClient(url) as client:
        yield client


def fail_one(jobs: JobQueue) -> None:
    jobs.settle(start(jobs), Settlement.failed(FailureReason.DIVERGED, "nan"))


def settled(client: SdcnClient, webhook_id: str, state: DeliveryState) -> None:
    """Once the receiver has answered, the answer is written down a moment later."""
    while getattr(client.webhook(webhook_id), state.value) == 0:
        client.get(next(client.jobs()).id)


def test_a_receiver_is_told_of_what_it_asked_for_and_can_verify_it(client: SdcnClient, app: FastAPI) -> None:
    with receiving() as receiver:
        made = client.add_webhook(WebhookSpec(url=f"{receiver.url}/hook", events=(JobState.FAILED,)))
        job = client.submit(TINY, idempotency_key="one")
        fail_one(app.state.queue)
        receiver.wait_for(1)
        settled(client, made.id, DeliveryState.DELIVERED)
    (message,) = receiver.verified(made.secret)
    assert message["type"] == "job.failed"
    assert (message["data"]["job_id"], message["data"]["note"]) == (job.id, "nan")
    (delivery,) = client.deliveries(made.id)
    assert (delivery.message_id, delivery.tries) == (receiver.messages[0][0]["webhook-id"], 1)


def test_a_message_that_is_refused_comes_again_under_the_same_id_until_it_is_taken(
    quick: None, client: SdcnClient, app: FastAPI
) -> None:
    with receiving(lambda receiver: 500 if len(receiver.messages) < 3 else 200) as receiver:
        made = client.add_webhook(WebhookSpec(url=receiver.url))
        client.submit(TINY)
        fail_one(app.state.queue)
        receiver.wait_for(3)
        settled(client, made.id, DeliveryState.DELIVERED)
    assert len({headers["webhook-id"] for headers, _ in receiver.messages}) == 1
    assert len(receiver.verified(made.secret)) == 3


def test_one_that_is_never_taken_is_given_up_and_shown(quick: None, client: SdcnClient, app: FastAPI) -> None:
    with receiving(lambda _: 500) as receiver:
        made = client.add_webhook(WebhookSpec(url=receiver.url))
        client.submit(TINY)
        fail_one(app.state.queue)
        receiver.wait_for(outbox.MAX_TRIES)
        settled(client, made.id, DeliveryState.DEAD)
    (delivery,) = client.deliveries(made.id, state=DeliveryState.DEAD)
    assert (delivery.tries, delivery.last_status, delivery.last_error) == (8, 500, "it answered 500")


def test_a_slow_receiver_is_told_one_thing_at_a_time_and_delays_only_its_own(settings: ServiceSettings) -> None:
    app = create_app(settings.model_copy(update={"webhook_timeout_s": 30.0}))
    let_go = threading.Event()

    def slowly(_receiver: Receiver) -> int:
        let_go.wait(20)
        return 200

    with (
        receiving(slowly) as slow,
        receiving() as quick,
        listening(app) as url,
        SdcnClient(url) as client,
    ):
        late = client.add_webhook(WebhookSpec(url=slow.url))
        prompt = client.add_webhook(WebhookSpec(url=quick.url))
        for _ in range(3):
            client.submit(TINY)
            fail_one(app.state.queue)
        quick.wait_for(3)
        assert client.webhook(prompt.id).dead == 0
        assert (client.webhook(late.id).delivered, len(slow.messages)) == (0, 1)
        let_go.set()


def test_what_was_not_delivered_when_the_service_stopped_is_delivered_by_the_next(
    quick: None, app: FastAPI, settings: ServiceSettings
) -> None:
    with receiving(lambda _: 503) as receiver:
        with listening(app) as url, SdcnClient(url) as client:
            made = client.add_webhook(WebhookSpec(url=receiver.url))
            client.submit(TINY)
            fail_one(app.state.queue)
            receiver.wait_for(1)
        receiver.answer = lambda _: 200
        there = len(receiver.messages)
        with listening(create_app(settings)) as url, SdcnClient(url) as client:
            receiver.wait_for(there + 1)
            settled(client, made.id, DeliveryState.DELIVERED)
    assert len({headers["webhook-id"] for headers, _ in receiver.messages}) == 1


def test_the_secret_is_shown_once_and_never_logged(client: SdcnClient, app: FastAPI) -> None:
    with logged(level=logging.DEBUG) as said, receiving() as receiver:
        made = client.add_webhook(WebhookSpec(url=receiver.url))
        client.submit(TINY)
        fail_one(app.state.queue)
        receiver.wait_for(1)
        settled(client, made.id, DeliveryState.DELIVERED)
        shown = [client.webhooks(), client.webhook(made.id), list(client.deliveries(made.id))]
    assert "webhook.delivered" in said.getvalue()
    assert made.secret.removeprefix("whsec_") not in said.getvalue() + repr(shown)


@contextmanager
def refused(field: str) -> Iterator[None]:
    with pytest.raises(ApiProblem) as caught:
        yield
    assert caught.value.status == 422
    assert [error.field for error in caught.value.fields] == [field]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "ftp://example.org"}, "url"),
        ({"url": "https://user:pass@example.org"}, "url"),
        ({"url": "https://example.org/#part"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "https://example.org:99999"}, "url"),
        ({"url": "https://exämple.org"}, "url"),
        ({"url": "https://example.org\r\nHost: x"}, "url"),
        ({"url": "https://example.org", "events": []}, "events"),
        ({"url": "https://example.org", "events": ["ended"]}, "events.0"),
        ({"url": "https://example.org", "events": ["failed", "failed"]}, "events"),
        ({"url": "https://example.org", "secret": "mine"}, "secret"),
    ],
)
def test_what_cannot_be_called_is_refused_with_its_field(
    client: SdcnClient, body: dict[str, object], field: str
) -> None:
    answer = httpx.post(f"{client.base_url}/v1/webhooks", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


def test_a_private_address_is_refused_at_once_unless_it_is_allowed(settings: ServiceSettings) -> None:
    careful = settings.model_copy(update={"webhook_allow_private": False})
    with listening(create_app(careful)) as url, SdcnClient(url) as client:
        for address in ("http://127.0.0.1/hook", "http://[::1]/hook", "http://169.254.169.254/latest"):
            with refused("url"):
                client.add_webhook(WebhookSpec(url=address))
        assert client.webhooks() == ()


def test_webhooks_come_and_go_by_the_command(client: SdcnClient, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: Callable[..., AbstractContextManager[SdcnClient]] = lambda *_: SdcnClient(client.base_url)  # noqa: E731
    monkeypatch.setattr(terminal, "open_client", opened)
    monkeypatch.setenv("COLUMNS", "200")

    def sdcn(*arguments: str) -> str:
        done = CliRunner().invoke(cli.app, ["webhooks", *arguments])
        assert done.exit_code == 0, done.output
        return done.stdout

    assert "no webhooks yet" in sdcn()
    assert "whsec_" in sdcn("add", "http://127.0.0.1:9/hook", "--on", "failed", "--on", "succeeded")
    (made,) = client.webhooks()
    assert made.events == (JobState.FAILED, JobState.SUCCEEDED)
    assert "127.0.0.1:9" in sdcn()
    assert "no messages yet" in sdcn("show", made.id)
    assert "nothing any more" in sdcn("remove", made.id)
    assert client.webhooks() == ()
    assert CliRunner().invoke(cli.app, ["webhooks", "show", made.id]).exit_code == 2
