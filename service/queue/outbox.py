"""The outbox: what webhooks are to be told, stored in the transaction of the event that it tells of.

A message is delivered at least once. Whoever delivers it claims it for a while; if that process dies, the message is
due again. `tries` is the fence: a result of an earlier try changes nothing.
"""

from collections.abc import Collection
from typing import Final

from sqlalchemy import ColumnElement, Engine, delete, exists, func, select, update
from sqlalchemy.orm import Session

from service.jobs.states import DeliveryState
from service.jobs.webhook_answers import JobChange, WebhookMessage
from service.queue.database import Clock
from service.queue.reading import to_time
from service.queue.retry import RetryPolicy
from service.queue.tables import DeliveryRow, JobEventRow, JobRow, WebhookRow
from service.queue.transactions import Transactions
from service.queue.webhook_records import DueDelivery

CLAIM_S: Final = 60.0
"""longer than any try takes"""
MAX_TRIES: Final = 8
BACK_OFF: Final = RetryPolicy(base_s=5, factor=5, longest_s=6 * 3600)
"""5 s, 25 s, 2 min, 10 min, 52 min, 4 h and 6 h after one another: a receiver may be away for half a day"""
KEEP_DELIVERED_MS: Final = 7 * 24 * 3600 * 1000
KEEP_DEAD_MS: Final = 30 * 24 * 3600 * 1000
ERROR_LENGTH: Final = 500


def post_to_webhooks(session: Session, job: JobRow, event: JobEventRow) -> None:
    """Put a message for each webhook that wants to know of this event into the outbox; the event has its id."""
    for webhook in session.scalars(select(WebhookRow)):
        if event.to_state not in webhook.events["states"]:
            continue
        message = WebhookMessage(
            type=f"job.{event.to_state}",
            timestamp=to_time(event.at),
            data=JobChange(
                event_id=event.id,
                job_id=job.id,
                kind=job.kind,
                name=job.name,
                attempt=event.attempt,
                from_state=event.from_state,
                to_state=event.to_state,
                note=event.note,
                url=f"/v1/jobs/{job.id}",
            ),
        )
        session.add(
            DeliveryRow(
                webhook_id=webhook.id,
                event_id=event.id,
                job_id=job.id,
                type=message.type,
                body=message.model_dump_json(),
                state=DeliveryState.PENDING,
                tries=0,
                next_at=event.at,
                created_at=event.at,
            )
        )


class Outbox:
    """The outbox as whoever delivers sees it."""

    def __init__(self, engine: Engine, *, clock: Clock | None = None, max_tries: int = MAX_TRIES) -> None:
        self._transactions = Transactions(engine, clock)
        self._max_tries = max_tries

    def claim(self, busy: Collection[str] = ()) -> list[DueDelivery]:
        """The oldest due message of each webhook, for this process alone for a minute.

        Args:
            busy: ids of webhooks that are being told something already.
        """
        now_ms = self._transactions.now_ms
        due = (DeliveryRow.state == DeliveryState.PENDING, DeliveryRow.next_at <= now_ms)
        with self._transactions.reading() as session:  # a write would lock all of SQLite, and mostly nothing is due
            oldest = select(func.min(DeliveryRow.id)).where(*due, DeliveryRow.webhook_id.not_in(list(busy)))
            ids = list(session.scalars(oldest.group_by(DeliveryRow.webhook_id)))
        if not ids:
            return []
        with self._transactions.writing() as (session, now):
            claimed = (
                update(DeliveryRow)
                .where(DeliveryRow.id.in_(ids), DeliveryRow.state == DeliveryState.PENDING, DeliveryRow.next_at <= now)
                .values(tries=DeliveryRow.tries + 1, next_at=now + round(CLAIM_S * 1000))
                .returning(DeliveryRow)
                .execution_options(synchronize_session=False)
            )
            rows = list(session.scalars(claimed))
            webhooks = {row.webhook_id: session.get_one(WebhookRow, row.webhook_id) for row in rows}
            return [
                DueDelivery(
                    delivery_id=row.id,
                    webhook_id=row.webhook_id,
                    message_id=message_id(row),
                    url=webhooks[row.webhook_id].url,
                    secret=webhooks[row.webhook_id].secret,
                    body=row.body,
                    tries=row.tries,
                )
                for row in rows
            ]

    def settle(
        self, due: DueDelivery, *, status: int | None, error: str | None, give_up: bool = False
    ) -> DeliveryState | None:
        """Write down how a try came out; the delivery's state, None where it is not this process's any more.

        Args:
            due: as it was claimed.
            status: of the answer, if there was one.
            error: why the receiver has not got it; None: it has.
            give_up: whether no further try is wanted.
        """
        with self._transactions.writing() as (session, now):
            state, next_at = DeliveryState.DELIVERED, now
            if error is not None:
                state = DeliveryState.DEAD if give_up or due.tries >= self._max_tries else DeliveryState.PENDING
                next_at = now + round(BACK_OFF.longest_delay_s(due.tries) * 1000)
            written = (
                update(DeliveryRow)
                .where(*_still_at(due))
                .values(
                    state=state,
                    next_at=next_at,
                    last_status=status,
                    last_error=None if error is None else error[:ERROR_LENGTH],
                    ended_at=None if state is DeliveryState.PENDING else now,
                )
                .returning(DeliveryRow.id)
            )
            return None if session.scalar(written) is None else state

    def give_back(self, due: DueDelivery) -> None:
        """Have a message that was claimed be due at once: its try was broken off."""
        with self._transactions.writing() as (session, now):
            session.execute(update(DeliveryRow).where(*_still_at(due)).values(next_at=now))

    def forget_old(self) -> None:
        """Remove deliveries that have ended long ago."""
        ended = {DeliveryState.DELIVERED: KEEP_DELIVERED_MS, DeliveryState.DEAD: KEEP_DEAD_MS}
        with self._transactions.reading() as session:
            if not session.scalar(select(exists().where(DeliveryRow.ended_at.is_not(None)))):
                return
        with self._transactions.writing() as (session, now):
            for state, kept_ms in ended.items():
                old = delete(DeliveryRow).where(DeliveryRow.state == state, DeliveryRow.ended_at < now - kept_ms)
                session.execute(old)


def _still_at(due: DueDelivery) -> tuple[ColumnElement[bool], ...]:
    """The fence: holds while nobody has made another try."""
    return (
        DeliveryRow.id == due.delivery_id,
        DeliveryRow.tries == due.tries,
        DeliveryRow.state == DeliveryState.PENDING,
    )


def message_id(row: DeliveryRow) -> str:
    """The webhook-id header: the same at every try, and of no other message to this receiver."""
    return f"msg_{row.webhook_id}_{row.event_id}"
