"""Deleting jobs. The row goes at once; its folder and its MLflow runs follow, for which a note is kept until they are
gone, so that who removes them may die at any point.
"""

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from service.errors import JobBusy, JobNeeded
from service.jobs.access import Action
from service.jobs.states import TERMINAL, JobState
from service.queue.audit import note_action
from service.queue.figures import tally_attempts
from service.queue.parts import QueuePart, find
from service.queue.tables import DatasetRow, DeletionRow, DependencyRow, JobRow

MODEL_USERS = ("evaluate", "predict", "second_stage")
"""kinds of job whose spec names a trained model"""


@dataclass(frozen=True)
class Deletion:
    """A deleted job of which something may be left."""

    job_id: str
    tracking_run_id: str | None


class Deletions(QueuePart):
    """The queue, as who deletes sees it."""

    def delete(self, job_id: str) -> None:
        """Forget a job that has ended, with its attempts and its trail, of which the audit keeps what clients did;
        its files and MLflow runs are removed by the next reconciler.

        Raises:
            JobNotFound: no job has this id.
            JobBusy: it has not ended.
            JobNeeded: something needs it; the message says what, and the way out.
        """
        with self.transactions.writing() as (session, now):
            row = find(session, job_id, lock=True)
            if not JobState(row.state).is_terminal:
                raise JobBusy(f"job {job_id} is {row.state}: cancel it first (POST /v1/jobs/{job_id}/cancel)")
            _refuse_needed(session, job_id)
            tally_attempts(session, job_id)
            session.add(DeletionRow(job_id=job_id, tracking_run_id=row.tracking_run_id, requested_at=now))
            last = {"kind": row.kind, "name": row.name, "state": row.state, "attempts": row.attempt}
            note_action(session, Action.JOB_DELETE, job_id, now=now, **last)
            session.execute(delete(JobRow).where(JobRow.id == job_id))

    def users_of_model(self, job_id: str) -> tuple[str, ...]:
        """Ids of the jobs that have not ended and use the model or a checkpoint of this one."""
        with self.transactions.reading() as session:
            return _users_of_model(session, job_id)

    def deletions(self) -> tuple[Deletion, ...]:
        """What is noted, oldest first."""
        with self.transactions.reading() as session:
            rows = session.scalars(select(DeletionRow).order_by(DeletionRow.requested_at, DeletionRow.job_id))
            return tuple(Deletion(row.job_id, row.tracking_run_id) for row in rows)

    def deleted(self, job_id: str) -> None:
        """Nothing is left of it: the note goes. Saying it again changes nothing."""
        with self.transactions.writing() as (session, _now):
            session.execute(delete(DeletionRow).where(DeletionRow.job_id == job_id))


def _refuse_needed(session: Session, job_id: str) -> None:
    checked = session.scalar(select(DatasetRow.name).where(DatasetRow.check_job_id == job_id))
    if checked is not None:
        raise JobNeeded(
            f"job {job_id} is the check of data set {checked!r}: check that again (POST /v1/datasets/{checked}/check),"
            " or remove it, first"
        )
    unfinished = JobRow.state.not_in(sorted(TERMINAL))
    waiting = session.scalar(
        select(JobRow.id)
        .join(DependencyRow, DependencyRow.job_id == JobRow.id)
        .where(DependencyRow.after_job_id == job_id, unfinished)
    )
    if waiting is not None:
        raise JobNeeded(
            f"job {waiting} names job {job_id} in `after` and has not ended: wait for it, or cancel it first"
        )
    if users := _users_of_model(session, job_id):
        raise JobNeeded(f"job {users[0]} uses the model of job {job_id}: wait for it, or cancel it first")


def _users_of_model(session: Session, job_id: str) -> tuple[str, ...]:
    users = select(JobRow).where(JobRow.state.not_in(sorted(TERMINAL)), JobRow.kind.in_(MODEL_USERS))
    return tuple(
        user.id
        for user in session.scalars(users.order_by(JobRow.id))
        if str(user.spec.get("model")).partition("/")[0] == job_id
    )
