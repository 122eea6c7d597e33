"""All the SQL about webhooks: register, list, look at their deliveries, remove."""

import secrets
from collections.abc import Collection

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from service.errors import TooManyWebhooks, WebhookNotFound
from service.jobs.access import Action
from service.jobs.states import DeliveryState, JobState
from service.queue.audit import note_action
from service.queue.database import Clock
from service.queue.outbox import message_id
from service.queue.reading import to_time
from service.queue.tables import DeliveryRow, WebhookRow
from service.queue.transactions import Transactions
from service.queue.webhook_records import Delivery, DeliveryPage, Webhook

MAX_WEBHOOKS = 20


class WebhookRegister:
    """The registered webhooks."""

    def __init__(self, engine: Engine, *, clock: Clock | None = None) -> None:
        self._transactions = Transactions(engine, clock)

    def add(self, url: str, states: Collection[JobState], *, secret: str) -> Webhook:
        """Register a receiver; it is told of every event that is written from now on.

        Raises:
            TooManyWebhooks: there are as many as there may be.
        """
        with self._transactions.writing() as (session, now):
            if (session.scalar(select(func.count()).select_from(WebhookRow)) or 0) >= MAX_WEBHOOKS:
                raise TooManyWebhooks(
                    f"{MAX_WEBHOOKS} webhooks are registered, and there may be no more: remove one first"
                    " (DELETE /v1/webhooks/{id})"
                )
            row = WebhookRow(
                id=secrets.token_hex(6), url=url, events={"states": sorted(states)}, secret=secret, created_at=now
            )
            session.add(row)
            session.flush()
            note_action(session, Action.WEBHOOK_ADD, row.id, now=now)
            return _read(row, {})

    def all(self) -> tuple[Webhook, ...]:
        """All of them, oldest first."""
        with self._transactions.reading() as session:
            rows = list(session.scalars(select(WebhookRow).order_by(WebhookRow.created_at, WebhookRow.id)))
            return tuple(_read(row, _counts(session, row.id)) for row in rows)

    def get(self, webhook_id: str) -> Webhook:
        """The webhook of this id.

        Raises:
            WebhookNotFound: there is none.
        """
        with self._transactions.reading() as session:
            return _read(_row(session, webhook_id), _counts(session, webhook_id))

    def deliveries(
        self, webhook_id: str, *, state: DeliveryState | None, limit: int, before: int | None
    ) -> DeliveryPage:
        """What it was told, or is to be told, newest first: at most `limit` deliveries, older than `before`.

        Raises:
            WebhookNotFound: there is no such webhook.
        """
        query = (
            select(DeliveryRow)
            .where(DeliveryRow.webhook_id == webhook_id)
            .order_by(DeliveryRow.id.desc())
            .limit(limit + 1)
        )
        if state is not None:
            query = query.where(DeliveryRow.state == state)
        if before is not None:
            query = query.where(DeliveryRow.id < before)
        with self._transactions.reading() as session:
            _row(session, webhook_id)
            found = tuple(map(_read_delivery, session.scalars(query)))
        return DeliveryPage(found[:limit], found[limit - 1].delivery_id if len(found) > limit else None)

    def remove(self, webhook_id: str) -> None:
        """Forget it, with what it was still to be told.

        Raises:
            WebhookNotFound: there is no such webhook.
        """
        with self._transactions.writing() as (session, now):
            session.delete(_row(session, webhook_id))
            note_action(session, Action.WEBHOOK_REMOVE, webhook_id, now=now)


def _row(session: Session, webhook_id: str) -> WebhookRow:
    row = session.get(WebhookRow, webhook_id)
    if row is None:
        raise WebhookNotFound(f"no webhook has the id {webhook_id[:100]!r}; GET /v1/webhooks lists them")
    return row


def _counts(session: Session, webhook_id: str) -> dict[DeliveryState, int]:
    counted = (
        select(DeliveryRow.state, func.count()).where(DeliveryRow.webhook_id == webhook_id).group_by(DeliveryRow.state)
    )
    return {DeliveryState(state): count for state, count in session.execute(counted)}


def _read(row: WebhookRow, counts: dict[DeliveryState, int]) -> Webhook:
    return Webhook(
        webhook_id=row.id,
        url=row.url,
        states=tuple(JobState(state) for state in row.events["states"]),
        created_at=to_time(row.created_at),
        counts=counts,
    )


def _read_delivery(row: DeliveryRow) -> Delivery:
    return Delivery(
        delivery_id=row.id,
        message_id=message_id(row),
        type=row.type,
        job_id=row.job_id,
        state=DeliveryState(row.state),
        tries=row.tries,
        next_try_at=to_time(row.next_at) if row.state == DeliveryState.PENDING else None,
        last_status=row.last_status,
        last_error=row.last_error,
        created_at=to_time(row.created_at),
        ended_at=to_time(row.ended_at),
    )
