import json

import pytest
from sqlalchemy import Engine

from service.errors import TooManyWebhooks, WebhookNotFound
from service.jobs.specs import TrainSpec
from service.jobs.states import DeliveryState, FailureReason, JobState
from service.queue.new_jobs import insert_job
from service.queue.outbox import CLAIM_S, Outbox
from service.queue.records import Job, Settlement
from service.queue.repository import JobQueue
from service.queue.webhook_records import DueDelivery, Webhook
from service.queue.webhooks import MAX_WEBHOOKS, WebhookRegister
from tests.service.clock import FakeClock
from tests.service.conftest import enqueue


@pytest.fixture
def webhooks(engine: Engine, clock: FakeClock) -> WebhookRegister:
    return WebhookRegister(engine, clock=clock)


@pytest.fixture
def outbox(engine: Engine, clock: FakeClock) -> Outbox:
    return Outbox(engine, clock=clock, max_tries=3)


@pytest.fixture
def webhook(webhooks: WebhookRegister) -> Webhook:
    return webhooks.add("https://example.org/hook", [JobState.QUEUED, JobState.FAILED], secret="whsec_c2VjcmV0")


def fail(queue: JobQueue) -> None:
    claim = queue.claim("worker-1", lease_s=30)
    assert claim is not None
    queue.start(claim, pid=1)
    queue.settle(claim, Settlement.failed(FailureReason.DIVERGED, "nan"))


def only(outbox: Outbox) -> DueDelivery:
    (due,) = outbox.claim()
    return due


def test_each_event_that_is_wanted_is_a_message_and_no_other(
    webhook: Webhook, outbox: Outbox, queue: JobQueue, spec: TrainSpec
) -> None:
    job = enqueue(queue, spec)
    fail(queue)
    told = []
    while due := outbox.claim():
        told.append(json.loads(due[0].body))
        assert outbox.settle(due[0], status=204, error=None) is DeliveryState.DELIVERED
    assert [message["type"] for message in told] == ["job.queued", "job.failed"]
    assert {message["data"]["job_id"] for message in told} == {job.job_id}
    assert (told[1]["data"]["note"], told[1]["data"]["attempt"]) == ("nan", 1)
    assert told[0]["data"]["event_id"] < told[1]["data"]["event_id"]


def test_what_is_not_committed_is_not_told(webhook: Webhook, outbox: Outbox, queue: JobQueue, spec: TrainSpec) -> None:
    def fail_after_inserting() -> None:
        with queue.transactions.writing() as (session, now):
            insert_job(session, spec, key=None, body_digest="", now=now)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_inserting()
    assert outbox.claim() == []


def test_a_message_that_is_being_delivered_is_nobody_elses(webhook: Webhook, outbox: Outbox, job: Job) -> None:
    assert only(outbox).tries == 1
    assert outbox.claim() == []


def test_a_message_whose_deliverer_died_is_due_again_and_the_dead_ones_word_does_not_count(
    webhook: Webhook, outbox: Outbox, job: Job, clock: FakeClock
) -> None:
    first = only(outbox)
    clock.advance(CLAIM_S + 1)
    second = only(outbox)
    assert (second.message_id, second.body, second.tries) == (first.message_id, first.body, 2)
    assert outbox.settle(first, status=None, error="too late") is None
    assert outbox.settle(second, status=200, error=None) is DeliveryState.DELIVERED
    assert outbox.settle(first, status=200, error=None) is None


def test_a_try_that_was_broken_off_is_made_again_at_once(webhook: Webhook, outbox: Outbox, job: Job) -> None:
    broken_off = only(outbox)
    outbox.give_back(broken_off)
    again = only(outbox)
    outbox.give_back(broken_off)  # too late: it is another's
    assert (again.message_id, outbox.claim()) == (broken_off.message_id, [])


def test_it_is_tried_again_ever_later_and_then_given_up(
    webhooks: WebhookRegister, webhook: Webhook, outbox: Outbox, job: Job, clock: FakeClock
) -> None:
    for tries, wait_s in ((1, 5), (2, 25)):
        assert outbox.settle(only(outbox), status=500, error="it answered 500") is DeliveryState.PENDING
        clock.advance(wait_s - 1)
        assert outbox.claim() == []
        clock.advance(1)
        assert webhooks.get(webhook.webhook_id).counts == {DeliveryState.PENDING: 1}, tries
    assert outbox.settle(only(outbox), status=500, error="it answered 500") is DeliveryState.DEAD
    clock.advance(10**6)
    assert outbox.claim() == []
    (delivery,) = webhooks.deliveries(webhook.webhook_id, state=DeliveryState.DEAD, limit=9, before=None).deliveries
    assert (delivery.tries, delivery.last_status, delivery.last_error) == (3, 500, "it answered 500")
    assert (delivery.next_try_at, delivery.ended_at is None) == (None, False)


def test_one_that_is_gone_is_given_up_at_once(webhook: Webhook, outbox: Outbox, job: Job) -> None:
    assert outbox.settle(only(outbox), status=410, error="it answered 410", give_up=True) is DeliveryState.DEAD


def test_a_busy_receiver_keeps_no_other_waiting(
    webhooks: WebhookRegister, webhook: Webhook, outbox: Outbox, queue: JobQueue, spec: TrainSpec
) -> None:
    other = webhooks.add("https://example.org/other", [JobState.QUEUED], secret="whsec_b3RoZXI=")
    for _ in range(2):
        enqueue(queue, spec)
    assert {due.webhook_id for due in outbox.claim()} == {webhook.webhook_id, other.webhook_id}
    assert [due.webhook_id for due in outbox.claim({webhook.webhook_id})] == [other.webhook_id]


def test_removing_a_webhook_takes_its_messages_along(
    webhooks: WebhookRegister, webhook: Webhook, outbox: Outbox, job: Job
) -> None:
    webhooks.remove(webhook.webhook_id)
    assert outbox.claim() == []
    with pytest.raises(WebhookNotFound):
        webhooks.remove(webhook.webhook_id)
    with pytest.raises(WebhookNotFound):
        webhooks.deliveries(webhook.webhook_id, state=None, limit=1, before=None)


def test_deliveries_come_page_by_page_newest_first(
    webhooks: WebhookRegister, webhook: Webhook, queue: JobQueue, spec: TrainSpec
) -> None:
    made = [enqueue(queue, spec).job_id for _ in range(5)]
    walked, before = [], None
    while True:
        page = webhooks.deliveries(webhook.webhook_id, state=None, limit=2, before=before)
        walked += [delivery.job_id for delivery in page.deliveries]
        before = page.following
        if before is None:
            break
    assert walked == made[::-1]


def test_what_ended_long_ago_is_forgotten(
    webhooks: WebhookRegister, webhook: Webhook, outbox: Outbox, queue: JobQueue, spec: TrainSpec, clock: FakeClock
) -> None:
    enqueue(queue, spec)
    outbox.settle(only(outbox), status=200, error=None)
    enqueue(queue, spec)
    outbox.settle(only(outbox), status=410, error="gone", give_up=True)
    clock.advance(8 * 24 * 3600)
    enqueue(queue, spec)
    outbox.forget_old()
    assert webhooks.get(webhook.webhook_id).counts == {DeliveryState.DEAD: 1, DeliveryState.PENDING: 1}
    clock.advance(30 * 24 * 3600)
    outbox.forget_old()
    assert webhooks.get(webhook.webhook_id).counts == {DeliveryState.PENDING: 1}


def test_there_are_only_so_many(webhooks: WebhookRegister) -> None:
    for _ in range(MAX_WEBHOOKS):
        webhooks.add("https://example.org/hook", [JobState.FAILED], secret="whsec_YQ==")
    with pytest.raises(TooManyWebhooks, match="remove one first"):
        webhooks.add("https://example.org/hook", [JobState.FAILED], secret="whsec_YQ==")
