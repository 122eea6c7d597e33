"""What can be read of the queue."""

from collections.abc import Collection

from sqlalchemy import and_, func, or_, select

from service.jobs.states import CLAIMABLE, JobState
from service.queue.parts import QueuePart, find, with_attempts
from service.queue.reading import read_job
from service.queue.records import Cursor, Job, JobPage, QueueHealth
from service.queue.tables import JobRow


class Lookup(QueuePart):
    """The queue, as who only looks sees it."""

    def get(self, job_id: str) -> Job:
        """The job with all its attempts.

        Raises:
            JobNotFound: no job has this id.
        """
        with self.transactions.reading() as session:
            return with_attempts(session, find(session, job_id))

    def page(
        self,
        *,
        states: Collection[JobState] = (),
        kind: str | None = None,
        limit: int,
        after: Cursor | None = None,
    ) -> JobPage:
        """At most `limit` jobs, newest first, without their attempts; empty `states` means all."""
        query = select(JobRow).order_by(JobRow.created_at.desc(), JobRow.id.desc()).limit(limit + 1)
        if states:
            query = query.where(JobRow.state.in_(sorted(states)))
        if kind is not None:
            query = query.where(JobRow.kind == kind)
        if after is not None:
            older = JobRow.created_at < after.created_at_ms
            same_time = and_(JobRow.created_at == after.created_at_ms, JobRow.id < after.job_id)
            query = query.where(or_(older, same_time))
        with self.transactions.reading() as session:
            rows = list(session.scalars(query))
            shown = rows[:limit]
            following = Cursor(shown[-1].created_at, shown[-1].id) if len(rows) > limit else None
            return JobPage(tuple(read_job(row, ()) for row in shown), following)

    def health(self) -> QueueHealth:
        """How many jobs are in each state, and how long the oldest claimable one waits."""
        with self.transactions.reading() as session:
            counted = session.execute(select(JobRow.state, func.count()).group_by(JobRow.state))
            counts = {JobState(state): count for state, count in counted}
            now = session.scalar(select(self.transactions.now_ms)) or 0
            waiting = (JobRow.state.in_(sorted(CLAIMABLE)), JobRow.available_at <= now)
            oldest = session.scalar(select(func.min(JobRow.available_at)).where(*waiting))
            return QueueHealth(counts, None if oldest is None else (now - oldest) / 1000)
