"""Who did what: a line for each thing that a client did, in the transaction that does it, kept when its job is gone."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.jobs.access import Action
from service.queue.callers import current_caller
from service.queue.database import Clock
from service.queue.reading import to_time
from service.queue.tables import AuditRow
from service.queue.transactions import Transactions


@dataclass(frozen=True)
class AuditEntry:
    """A line of the audit; `at` is aware UTC."""

    entry_id: int
    at: datetime
    key_id: str | None
    key_name: str
    action: Action
    subject: str
    details: dict[str, Any]


@dataclass(frozen=True)
class AuditPage:
    entries: tuple[AuditEntry, ...]
    following: int | None
    """the last id, before which the next page begins; None: this was the last"""


def note_action(session: Session, action: Action, subject: str, *, now: int, **details: Any) -> None:  # noqa: ANN401
    """Add a line, which is written when the change itself is.

    Args:
        session: of the change's transaction.
        action: what was done.
        subject: on what: its id or name.
        now: the database's time, ms.
        details: JSON values.
    """
    caller = current_caller()
    row = AuditRow(at=now, key_id=caller.key_id, key_name=caller.name, action=action, subject=subject, details=details)
    session.add(row)
    session.flush()


class AuditLog:
    """Reads what was done."""

    def __init__(self, engine: Engine, *, clock: Clock | None = None) -> None:
        self._transactions = Transactions(engine, clock)

    def page(self, *, limit: int, before: int | None = None, subject: str | None = None) -> AuditPage:
        """At most `limit` lines older than `before`, newest first; of one job, data set, webhook or key, or of all."""
        query = select(AuditRow).order_by(AuditRow.id.desc()).limit(limit + 1)
        if before is not None:
            query = query.where(AuditRow.id < before)
        if subject is not None:
            query = query.where(AuditRow.subject == subject)
        with self._transactions.reading() as session:
            found = tuple(map(_read, session.scalars(query)))
        return AuditPage(found[:limit], found[limit - 1].entry_id if len(found) > limit else None)


def _read(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        entry_id=row.id,
        at=to_time(row.at),
        key_id=row.key_id,
        key_name=row.key_name,
        action=Action(row.action),
        subject=row.subject,
        details=row.details,
    )
