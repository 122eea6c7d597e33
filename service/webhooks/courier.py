"""Delivers what is in the outbox: one message at a time to each receiver, so that a slow one delays only its own."""

import asyncio
from contextlib import suppress

import structlog
from fastapi.concurrency import run_in_threadpool

from service.errors import ServiceError
from service.queue.outbox import Outbox
from service.queue.webhook_records import DueDelivery
from service.webhooks.sender import Sender

log = structlog.get_logger()

INTERVAL_S = 1.0
TIDY_INTERVAL_S = 3600.0


class Courier:
    """Delivers for as long as `run` runs; several processes may, each message is then one's at a time."""

    def __init__(self, outbox: Outbox, sender: Sender, *, interval_s: float = INTERVAL_S) -> None:
        self._outbox = outbox
        self._sender = sender
        self._interval_s = interval_s
        self._busy: set[str] = set()
        self._free = asyncio.Event()
        self._tidied_at_s: float | None = None

    async def run(self) -> None:
        """Deliver until cancelled. What is on its way then is sent again, at once, by whoever comes next."""
        try:
            async with asyncio.TaskGroup() as deliveries:
                while True:
                    self._free.clear()
                    for due in await self._claim():
                        self._busy.add(due.webhook_id)
                        deliveries.create_task(self._deliver(due))
                    try:
                        async with asyncio.timeout(self._interval_s):
                            await self._free.wait()
                    except TimeoutError:
                        continue
        finally:
            await self._sender.close()

    async def _claim(self) -> list[DueDelivery]:
        now_s = asyncio.get_running_loop().time()
        try:
            if self._tidied_at_s is None or now_s - self._tidied_at_s >= TIDY_INTERVAL_S:
                self._tidied_at_s = now_s
                await run_in_threadpool(self._outbox.forget_old)
            claiming = asyncio.ensure_future(run_in_threadpool(self._outbox.claim, frozenset(self._busy)))
            try:
                return await asyncio.shield(claiming)
            except asyncio.CancelledError:  # the service stops, and the thread claims all the same
                with suppress(ServiceError):
                    for due in await claiming:
                        await run_in_threadpool(self._outbox.give_back, due)
                raise
        except ServiceError as error:
            log.warning("webhooks.queue_unreachable", reason=str(error))
        except Exception:  # a defect must not keep everything back until the next start
            log.exception("webhooks.not_claimed")
        return []

    async def _deliver(self, due: DueDelivery) -> None:
        try:
            tried = await self._sender.send(due)
            state = await run_in_threadpool(
                self._outbox.settle, due, status=tried.status, error=tried.error, give_up=tried.is_gone
            )
            fields = {"webhook_id": due.webhook_id, "message_id": due.message_id, "tries": due.tries}
            if tried.error is None:
                log.info("webhook.delivered", status=tried.status, **fields)
            else:
                log.warning("webhook.not_delivered", state=state, reason=tried.error, **fields)
        except asyncio.CancelledError:  # the service stops: the next one need not wait for the claim to run out
            await run_in_threadpool(self._outbox.give_back, due)
            raise
        except ServiceError as error:  # it stays claimed, and is sent again after a while
            log.warning("webhooks.queue_unreachable", reason=str(error))
        except Exception:  # one message must not keep all others back
            log.exception("webhook.failed", webhook_id=due.webhook_id, message_id=due.message_id)
        finally:
            self._busy.discard(due.webhook_id)
            self._free.set()
