"""A courier that is stopped keeps no message from the next one."""

import asyncio
import threading
from collections.abc import Collection

from sqlalchemy import Engine

from service.jobs.specs import TrainSpec
from service.jobs.states import JobState
from service.queue.outbox import Outbox
from service.queue.repository import JobQueue
from service.queue.webhook_records import DueDelivery
from service.queue.webhooks import WebhookRegister
from service.webhooks.courier import Courier
from service.webhooks.sender import Sender
from tests.service.conftest import enqueue

WAIT_S = 20


class SlowToAnswer(Outbox):
    """An outbox whose claims are written, and answered only when they are let go."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.claimed = threading.Event()
        self.let_go = threading.Event()

    def claim(self, busy: Collection[str] = ()) -> list[DueDelivery]:
        due = super().claim(busy)
        self.claimed.set()
        self.let_go.wait(WAIT_S)
        return due


async def stop_within_a_claim(outbox: SlowToAnswer) -> None:
    running = asyncio.create_task(Courier(outbox, Sender(allow_private=False, timeout_s=1)).run())
    await asyncio.to_thread(outbox.claimed.wait, WAIT_S)
    running.cancel()
    outbox.let_go.set()
    await asyncio.wait([running], timeout=WAIT_S)
    assert running.cancelled()


def test_what_is_claimed_while_the_service_stops_is_due_at_once(
    engine: Engine, queue: JobQueue, spec: TrainSpec
) -> None:
    WebhookRegister(engine).add("https://example.org/hook", [JobState.QUEUED], secret="whsec_c2VjcmV0")
    enqueue(queue, spec)
    asyncio.run(stop_within_a_claim(SlowToAnswer(engine)))
    (due,) = Outbox(engine).claim()
    assert due.tries == 2
