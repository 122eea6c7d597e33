"""Which workers there are, and what their clusters have."""

from pydantic import ValidationError
from sqlalchemy import delete, select

from service.jobs.capacity import Capacity
from service.jobs.worker_figures import WorkerFigures
from service.queue.deadlines import milliseconds
from service.queue.parts import QueuePart
from service.queue.reading import to_time
from service.queue.records import Worker
from service.queue.tables import WorkerRow

FORGOTTEN_AFTER_S = 86_400
"""a worker that has not beaten for so long is no longer listed"""


class Presence(QueuePart):
    """The queue, as workers make themselves known to it."""

    def announce(
        self, worker_id: str, capacity: Capacity | None, *, ttl_s: float, figures: WorkerFigures | None = None
    ) -> None:
        """The worker lives, for at least so long. None: its cluster has not answered yet; it has nothing to tell."""
        with self.transactions.writing() as (session, now):
            row = session.get(WorkerRow, worker_id)
            if row is None:
                row = WorkerRow(id=worker_id, started_at=now)
                session.add(row)
            row.seen_at = now
            row.expires_at = now + milliseconds(ttl_s)
            if capacity is not None:
                row.capacity = capacity.model_dump(mode="json")
            if figures is not None:
                row.figures = figures.model_dump(mode="json")

    def leave(self, worker_id: str) -> None:
        """The worker goes."""
        with self.transactions.writing() as (session, _now):
            session.execute(delete(WorkerRow).where(WorkerRow.id == worker_id))

    def forget_workers(self) -> None:
        """Remove those that have died long ago."""
        with self.transactions.writing() as (session, now):
            long_ago = now - milliseconds(FORGOTTEN_AFTER_S)
            session.execute(delete(WorkerRow).where(WorkerRow.expires_at < long_ago))

    def workers(self) -> tuple[Worker, ...]:
        """The workers that live, by id."""
        with self.transactions.reading() as session:
            now = session.scalar(select(self.transactions.now_ms)) or 0
            rows = session.scalars(select(WorkerRow).where(WorkerRow.expires_at >= now).order_by(WorkerRow.id))
            return tuple(Worker(row.id, to_time(row.started_at), to_time(row.seen_at), _capacity(row)) for row in rows)


def _capacity(row: WorkerRow) -> Capacity | None:
    try:
        return None if row.capacity is None else Capacity.model_validate(row.capacity)
    except ValidationError:  # a worker of another version
        return None
