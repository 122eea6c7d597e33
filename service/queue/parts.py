"""What the parts of the queue share: one database, one way to move a job, and how a row is found."""

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from service.errors import JobNotFound
from service.queue.database import Clock
from service.queue.deadlines import Deadlines
from service.queue.moves import Moves
from service.queue.reading import read_job
from service.queue.records import Job
from service.queue.retry import RetryPolicy
from service.queue.tables import AttemptRow, JobRow
from service.queue.transactions import Transactions


class QueuePart:
    """A part of the queue."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock | None = None,
        retry: RetryPolicy | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        self.transactions = Transactions(engine, clock)
        self._moves = Moves(retry or RetryPolicy(), deadlines or Deadlines())


def find(session: Session, job_id: str, *, lock: bool = False) -> JobRow:
    """The job's row.

    Raises:
        JobNotFound: no job has this id.
    """
    query = select(JobRow).where(JobRow.id == job_id)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise JobNotFound(f"no job has the id {job_id!r}; GET /v1/jobs lists them")
    return row


def with_attempts(session: Session, row: JobRow) -> Job:
    session.flush()
    attempts = session.scalars(select(AttemptRow).where(AttemptRow.job_id == row.id).order_by(AttemptRow.attempt))
    return read_job(row, tuple(attempts))
