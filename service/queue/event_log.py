"""Reading the audit trail: the events of one job, and what is new of many jobs at once."""

from collections.abc import Mapping

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from service.errors import JobNotFound
from service.jobs.progress import JobProgress
from service.queue.database import Clock
from service.queue.reading import read_event
from service.queue.records import JobEvent, JobNews
from service.queue.tables import JobEventRow, JobRow
from service.queue.transactions import Transactions


class EventLog:
    """The audit trail, for readers that must miss nothing.

    An id says how far a reader is in one job's events: whoever changes a job's state holds its row, so events of one
    job are numbered in the order in which they become visible. Over several jobs that does not hold on PostgreSQL.
    """

    def __init__(self, engine: Engine, *, clock: Clock | None = None) -> None:
        self._transactions = Transactions(engine, clock)

    def page(self, job_id: str, *, after: int, limit: int) -> tuple[JobEvent, ...]:
        """At most `limit` events of the job behind the event `after`, oldest first.

        Raises:
            JobNotFound: no job has this id.
        """
        with self._transactions.reading() as session:
            if session.get(JobRow, job_id) is None:
                raise JobNotFound(f"no job has the id {job_id!r}; GET /v1/jobs lists them")
            return _events(session, job_id, after=after, limit=limit)

    def look(self, known: Mapping[str, int]) -> dict[str, JobNews]:
        """What is new of these jobs; one that is gone is left out.

        Args:
            known: for each job the id of the last event that is known, 0 for none.
        """
        with self._transactions.reading() as session:
            # Jobs first: an event that is written meanwhile is then told too early rather than forgotten at an end.
            jobs = select(JobRow.id, JobRow.attempt, JobRow.progress).where(JobRow.id.in_(known))
            found = {job_id: (attempt, progress) for job_id, attempt, progress in session.execute(jobs)}
            latest = (
                select(JobEventRow.job_id, func.max(JobEventRow.id))
                .where(JobEventRow.job_id.in_(known))
                .group_by(JobEventRow.job_id)
            )
            ahead = [job_id for job_id, event_id in session.execute(latest) if event_id > known[job_id]]
            events = {job_id: _events(session, job_id, after=known[job_id]) for job_id in ahead}
        return {
            job_id: JobNews(
                attempt=attempt,
                progress=None if progress is None else JobProgress.model_validate(progress),
                events=events.get(job_id, ()),
            )
            for job_id, (attempt, progress) in found.items()
        }


def _events(session: Session, job_id: str, *, after: int, limit: int | None = None) -> tuple[JobEvent, ...]:
    query = (
        select(JobEventRow)
        .where(JobEventRow.job_id == job_id, JobEventRow.id > after)
        .order_by(JobEventRow.id)
        .limit(limit)
    )
    return tuple(map(read_event, session.scalars(query)))
