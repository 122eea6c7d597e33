"""What a worker does with a job. Every write is fenced: it names the lease token of the claim, and when no row has it
any more, LeaseLost is raised and nothing was written. Leases are judged by the database's clock alone.
"""

import secrets

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Select, select, text, update
from sqlalchemy.orm import Session

from service.errors import LeaseLost
from service.jobs.budgets import Spent
from service.jobs.progress import JobProgress
from service.jobs.specs import JOB_SPEC
from service.jobs.states import CLAIMABLE, Desired, FailureReason, JobState
from service.queue.deadlines import milliseconds
from service.queue.parts import QueuePart, find, with_attempts
from service.queue.quotas import within_quotas
from service.queue.reading import to_time
from service.queue.records import Claim, Job, Pulse, Settlement
from service.queue.tables import AttemptRow, JobRow, one_of


class Leases(QueuePart):
    """The queue, as a worker sees it."""

    def claim(self, worker_id: str, *, lease_s: float) -> Claim | None:
        """The next due job, by priority and then by age, for this worker alone; None when none is due, or quotas hold
        all that are.
        """
        token = secrets.token_hex(16)
        with self.transactions.writing() as (session, now):
            row = session.scalar(next_due(now, *within_quotas(session)))
            if row is None:
                return None
            row.attempt += 1
            row.lease_token = token
            row.lease_owner = worker_id
            row.lease_expires_at = now + milliseconds(lease_s)
            row.progress = row.failure_reason = row.failure_message = None
            self._moves.move(session, row, JobState.CLAIMED, actor=worker_id, note=None, now=now)
            session.add(AttemptRow(job_id=row.id, attempt=row.attempt, worker_id=worker_id, started_at=now))
            session.flush()
            try:
                spec = JOB_SPEC.validate_python(row.spec)
            except ValidationError as error:  # must not come back at every claim, so it ends here
                message = f"this version cannot read the job's spec, submit it again: {error.errors()[0]['msg']}"
                unreadable = Settlement.failed(FailureReason.BAD_INPUT, message)
                self._moves.settle(session, row, unreadable, actor=worker_id, now=now)
                return None
            return Claim(
                job_id=row.id,
                attempt=row.attempt,
                lease_token=token,
                spec=spec,
                created_at=to_time(row.created_at),
                tracking_run_id=row.tracking_run_id,
                worker_id=worker_id,
                spent=Spent(own=row.failed_attempts, infrastructure=row.lost_attempts),
            )

    def heartbeat(self, claim: Claim, *, lease_s: float) -> Pulse:
        """Prolong the lease and learn what the client wants.

        Raises:
            LeaseLost: the lease ran out and the job was taken away.
        """
        with self.transactions.writing() as (session, now):
            prolonged = update(JobRow).where(*_fence(claim)).values(lease_expires_at=now + milliseconds(lease_s))
            found = session.execute(prolonged.returning(JobRow.desired, JobRow.state, JobRow.deadline_at)).one_or_none()
            if found is None:
                raise _lost(claim)
            desired, state, deadline_at = found
            return Pulse(Desired(desired), JobState(state), deadline_at is not None and deadline_at < now)

    def start(self, claim: Claim, *, pid: int | None = None) -> None:
        """The attempt's child process was started: claimed -> starting.

        Raises:
            LeaseLost: the lease ran out and the job was taken away.
        """
        with self.transactions.writing() as (session, now):
            row = _leased(session, claim)
            row.started_at = row.started_at or now
            self._moves.move(session, row, JobState.STARTING, actor=claim.worker_id, note=None, now=now)
            _open_attempt(session, claim).pid = pid

    def begin_running(self, claim: Claim) -> None:
        """The child is at work: starting -> running. Saying it again, or of a child asked to stop, changes nothing.

        Raises:
            LeaseLost: the lease ran out and the job was taken away.
        """
        with self.transactions.writing() as (session, now):
            row = _leased(session, claim)
            if row.state not in (JobState.RUNNING, JobState.STOPPING):
                self._moves.move(session, row, JobState.RUNNING, actor=claim.worker_id, note=None, now=now)

    def begin_stopping(self, claim: Claim, *, note: str | None = None) -> None:
        """The child was asked to stop: -> stopping. Saying it again changes nothing.

        Raises:
            LeaseLost: the lease ran out and the job was taken away.
        """
        with self.transactions.writing() as (session, now):
            row = _leased(session, claim)
            if row.state != JobState.STOPPING:
                self._moves.move(session, row, JobState.STOPPING, actor=claim.worker_id, note=note, now=now)

    def record_progress(self, claim: Claim, progress: JobProgress) -> None:
        """Replace the job's progress. It was made now, whatever the worker's clock says.

        Raises:
            LeaseLost: the lease ran out and the job was taken away.
        """
        with self.transactions.writing() as (session, now):
            told = progress.model_copy(update={"updated_at": to_time(now)})
            values = {"progress": told.model_dump(mode="json"), "updated_at": now}
            written = update(JobRow).where(*_fence(claim)).values(**values).returning(JobRow.id)
            if session.scalar(written) is None:
                raise _lost(claim)

    def record_resume(self, claim: Claim, *, step: int) -> None:
        """Note the global step of the checkpoint from which this attempt went on.

        Raises:
            LeaseLost: the lease ran out and the job was taken away.
        """
        with self.transactions.writing() as (session, _now):
            _leased(session, claim)
            _open_attempt(session, claim).resumed_from_step = step

    def settle(self, claim: Claim, settlement: Settlement) -> Job:
        """End the attempt, and the job unless another attempt is due or it is to be paused; one transaction.

        A `retry` or a pause becomes `cancelled` where the client asked for the end, a retry `failed` where no attempt
        is left, and a pause that was taken back a retry at once.

        Raises:
            LeaseLost: the lease ran out and the job was taken away; nothing was written.
        """
        with self.transactions.writing() as (session, now):
            row = _leased(session, claim)
            self._moves.settle(session, row, settlement, actor=claim.worker_id, now=now)
            return with_attempts(session, row)

    def attach_tracking(self, job_id: str, run_id: str) -> str:
        """Tie the job to its MLflow run, once; returns the run it is tied to, which an earlier attempt may have made.

        Raises:
            JobNotFound: no job has this id.
        """
        with self.transactions.writing() as (session, now):
            row = find(session, job_id, lock=True)
            if row.tracking_run_id is None:
                row.tracking_run_id = run_id
                row.updated_at = now
            return row.tracking_run_id


def next_due(now: int, *conditions: ColumnElement[bool]) -> Select[JobRow]:
    """The next job to be claimed that meets the conditions, locked; one that another worker is just claiming is passed
    over.
    """
    return (
        select(JobRow)
        # Written out, so that both databases see that the partial index holds all of it.
        .where(text(one_of("job.state", CLAIMABLE)), JobRow.available_at <= now, *conditions)
        .order_by(JobRow.priority.desc(), JobRow.available_at, JobRow.id)
        .limit(1)
        .with_for_update(skip_locked=True)  # SQLite, which has one writer, compiles this to nothing
    )


def _fence(claim: Claim) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return JobRow.id == claim.job_id, JobRow.lease_token == claim.lease_token


def _lost(claim: Claim) -> LeaseLost:
    return LeaseLost(
        f"the lease of attempt {claim.attempt} on job {claim.job_id} is lost: it ran out, and the job was taken away;"
        " end the child process and write nothing"
    )


def _leased(session: Session, claim: Claim) -> JobRow:
    """The job's row, locked, if the claim still holds its lease."""
    row = session.scalar(select(JobRow).where(*_fence(claim)).with_for_update())
    if row is None:
        raise _lost(claim)
    return row


def _open_attempt(session: Session, claim: Claim) -> AttemptRow:
    return session.get_one(AttemptRow, (claim.job_id, claim.attempt))
