"""What puts the queue in order when nobody else does: every step can be repeated, and one that was cut short is done
again by whoever comes next.
"""

from typing import Final

from sqlalchemy import delete, select, text
from sqlalchemy.exc import IntegrityError

from service.jobs.states import LEASED, Desired, FailureReason, JobState
from service.queue.deadlines import milliseconds
from service.queue.parts import QueuePart
from service.queue.records import Settlement
from service.queue.tables import JobRow, LeaderRow, one_of

RECONCILER: Final = "reconciler"
"""who moves a job that its worker has left"""
BATCH = 100
"""rows that one transaction moves"""


class Repair(QueuePart):
    """The queue, as the reconciler sees it."""

    def lead(self, task: str, owner: str, *, lease_s: float) -> bool:
        """Whether this owner is the one who does the task, for so long; asking again prolongs it."""
        try:
            with self.transactions.writing() as (session, now):
                row = session.scalar(select(LeaderRow).where(LeaderRow.task == task).with_for_update())
                if row is None:
                    row = LeaderRow(task=task, owner=owner, expires_at=now)
                    session.add(row)
                elif row.owner != owner and row.expires_at >= now:
                    return False
                row.owner, row.expires_at = owner, now + milliseconds(lease_s)
                return True
        except IntegrityError:  # two were the first at once
            return False

    def resign(self, task: str, owner: str) -> None:
        """The owner does the task no longer; another may at once."""
        with self.transactions.writing() as (session, _now):
            session.execute(delete(LeaderRow).where(LeaderRow.task == task, LeaderRow.owner == owner))

    def rescue_lost(self) -> list[str]:
        """Take jobs from workers whose lease ran out; their ids. Each waits for a retry, is paused, fails or is
        cancelled.
        """
        with self.transactions.writing() as (session, now):
            expired = (
                select(JobRow)
                .where(text(one_of("job.state", LEASED)), JobRow.lease_expires_at < now)
                .order_by(JobRow.lease_expires_at)
                .limit(BATCH)
                .with_for_update(skip_locked=True)
            )
            rows = list(session.scalars(expired))
            for row in rows:
                lost = f"attempt {row.attempt} was lost: worker {row.lease_owner} stopped renewing its lease"
                retry = Settlement.retry(FailureReason.LOST_WORKER, lost)
                self._moves.settle(session, row, retry, actor=RECONCILER, now=now)
            return [row.id for row in rows]

    def enforce_deadlines(self) -> list[str]:
        """Take jobs from workers that kept their lease and let a deadline pass by more than the grace; their ids."""
        grace_ms = milliseconds(self._moves.deadlines.grace_s)
        with self.transactions.writing() as (session, now):
            overdue = (
                select(JobRow)
                .where(text(one_of("job.state", LEASED)), JobRow.deadline_at < now - grace_ms)
                .order_by(JobRow.deadline_at)
                .limit(BATCH)
                .with_for_update(skip_locked=True)
            )
            rows = list(session.scalars(overdue))
            for row in rows:
                self._moves.settle(session, row, _overdue(row, now), actor=RECONCILER, now=now)
            return [row.id for row in rows]

    def unblock_waiting(self) -> list[str]:
        """Move on blocked jobs that wait for nothing any more; their ids. A job that ends frees those that wait for it
        by itself, but one that is resumed at the same moment may be passed over.
        """
        with self.transactions.writing() as (session, now):
            blocked = select(JobRow).where(JobRow.state == JobState.BLOCKED).order_by(JobRow.id)
            rows = list(session.scalars(blocked.with_for_update(skip_locked=True)))
            return [row.id for row in rows if self._moves.unblock(session, row, now=now)]


def _overdue(row: JobRow, now: int) -> Settlement:
    """The verdict on a job whose worker let it stay too long."""
    max_runtime_s: float | None = row.spec.get("max_runtime_s")
    ran_ms = row.ran_ms + (now - row.state_at if row.state == JobState.RUNNING else 0)
    if max_runtime_s is not None and ran_ms >= milliseconds(max_runtime_s) and not Desired(row.desired).is_end:
        return Settlement.failed(FailureReason.DEADLINE, out_of_time(max_runtime_s))
    stuck = f"attempt {row.attempt} was taken from worker {row.lease_owner}, which left it {row.state} for too long"
    return Settlement.retry(FailureReason.LOST_WORKER, stuck)


def out_of_time(max_runtime_s: float) -> str:
    """What a client reads of a job that ran longer than it may."""
    return f"it ran longer than its max_runtime_s of {max_runtime_s:g}: allow more, or train for fewer steps"
