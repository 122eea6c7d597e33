"""All the SQL about jobs: enqueue, claim, heartbeat, start, progress, settle, cancel, rescue.

Every write of a worker is fenced: it names the lease token of its claim, and when no row has it any more, LeaseLost is
raised and nothing was written. Every change of state appends a JobEventRow in the same transaction. Leases are judged
by the database's clock alone.
"""

import secrets
from collections.abc import Collection

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Engine, and_, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.errors import (
    IdempotencyKeyReused,
    IllegalTransition,
    JobAlreadyEnded,
    JobNotFound,
    LeaseLost,
)
from service.jobs.progress import JobProgress
from service.jobs.specs import JOB_SPEC, JobSpec
from service.jobs.states import LEASED, TRANSITIONS, WAITING, Desired, FailureReason, JobState
from service.queue.database import Clock
from service.queue.dataset_use import use_datasets
from service.queue.new_jobs import API, append_event, insert_job
from service.queue.reading import read_job, to_time
from service.queue.records import Claim, Cursor, Job, JobPage, QueueHealth, Settlement
from service.queue.retry import RetryPolicy
from service.queue.tables import AttemptRow, JobRow
from service.queue.transactions import Transactions

MESSAGE_LENGTH = 4000
RESCUE = "rescue"


class JobQueue:
    """The durable queue, safe to use from many threads and processes at once."""

    def __init__(self, engine: Engine, *, clock: Clock | None = None, retry: RetryPolicy | None = None) -> None:
        self.transactions = Transactions(engine, clock)
        self._retry = retry or RetryPolicy()

    # What the API does.

    def enqueue(
        self, spec: JobSpec, *, idempotency_key: str | None, body_digest: str, datasets: Collection[str] = ()
    ) -> tuple[Job, bool]:
        """Store a resolved spec; on return it is durable. With a known key: the job it made, and False.

        Args:
            spec: resolved.
            idempotency_key: the client's, if it gave one.
            body_digest: sha256 of the request.
            datasets: registered data sets whose sources the spec has; they stay registered until the job has ended.

        Raises:
            IdempotencyKeyReused: the key came with another body before.
            DatasetNotFound: one of them is not registered (any more).
        """
        try:
            with self.transactions.writing() as (session, now):
                if idempotency_key is None or (known := _keyed(session, idempotency_key)) is None:
                    return self._insert(session, spec, idempotency_key, body_digest, datasets, now), True
                return _replay(session, known, body_digest), False
        except IntegrityError:  # another request with the same key was faster, or an id came twice
            with self.transactions.writing() as (session, now):
                if idempotency_key is not None and (known := _keyed(session, idempotency_key)) is not None:
                    return _replay(session, known, body_digest), False
                return self._insert(session, spec, idempotency_key, body_digest, datasets, now), True

    def _insert(
        self, session: Session, spec: JobSpec, key: str | None, body_digest: str, datasets: Collection[str], now: int
    ) -> Job:
        row = insert_job(session, spec, key=key, body_digest=body_digest, now=now)
        use_datasets(session, row.id, datasets)
        return read_job(row, ())

    def get(self, job_id: str) -> Job:
        """The job with all its attempts.

        Raises:
            JobNotFound: no job has this id.
        """
        with self.transactions.reading() as session:
            return _with_attempts(session, _row(session, job_id))

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

    def request_cancel(self, job_id: str) -> Job:
        """Ask for the end: at once where no worker has the job, else at its worker's next heartbeat. Idempotent.

        Raises:
            JobNotFound: no job has this id.
            JobAlreadyEnded: the job succeeded or failed; a cancelled one is just returned.
        """
        with self.transactions.writing() as (session, now):
            row = _row(session, job_id, lock=True)
            state = JobState(row.state)
            if state.is_terminal and state is not JobState.CANCELLED:
                raise JobAlreadyEnded(f"job {job_id} has already {state}; there is nothing left to cancel")
            if not state.is_terminal and row.desired != Desired.CANCEL:
                row.desired = Desired.CANCEL
                row.updated_at = now
            if state.is_waiting:
                row.failure_reason = FailureReason.USER
                row.failure_message = "cancelled on request before an attempt ran"
                self._move(session, row, JobState.CANCELLED, actor=API, note=None, now=now)
            return _with_attempts(session, row)

    def health(self) -> QueueHealth:
        """How many jobs are in each state, and how long the oldest claimable one waits."""
        with self.transactions.reading() as session:
            counted = session.execute(select(JobRow.state, func.count()).group_by(JobRow.state))
            counts = {JobState(state): count for state, count in counted}
            now = session.scalar(select(self.transactions.now_ms)) or 0
            waiting = (JobRow.state.in_(sorted(WAITING)), JobRow.available_at <= now)
            oldest = session.scalar(select(func.min(JobRow.available_at)).where(*waiting))
            return QueueHealth(counts, None if oldest is None else (now - oldest) / 1000)

    # What a worker does.

    def claim(self, worker_id: str, *, lease_s: float) -> Claim | None:
        """The next due job, by priority and then by age, for this worker alone; None when none is due."""
        token = secrets.token_hex(16)
        with self.transactions.writing() as (session, now):
            due = (
                select(JobRow.id)
                .where(JobRow.state.in_(sorted(WAITING)), JobRow.available_at <= now)
                .order_by(JobRow.priority.desc(), JobRow.available_at, JobRow.id)
                .limit(1)
                .with_for_update(skip_locked=True)  # SQLite, which has one writer, compiles this to nothing
                .cte("due")
                .prefix_with("MATERIALIZED", dialect="postgresql")  # else the planner may lock more rows than LIMIT
            )
            row = session.scalars(
                update(JobRow)
                .where(JobRow.id == due.c.id)
                .values(
                    state=JobState.CLAIMED,
                    attempt=JobRow.attempt + 1,
                    lease_token=token,
                    lease_owner=worker_id,
                    lease_expires_at=now + _ms(lease_s),
                    updated_at=now,
                    progress=None,
                    failure_reason=None,
                    failure_message=None,
                )
                .returning(JobRow)
                .execution_options(synchronize_session=False)
            ).one_or_none()
            if row is None:
                return None
            session.add(AttemptRow(job_id=row.id, attempt=row.attempt, worker_id=worker_id, started_at=now))
            waited_in = JobState.QUEUED if row.attempt == 1 else JobState.RETRY_WAIT
            append_event(session, row, waited_in, actor=worker_id, note=None, now=now)
            try:
                spec = JOB_SPEC.validate_python(row.spec)
            except ValidationError as error:  # must not come back at every claim, so it ends here
                message = f"this version cannot read the job's spec, submit it again: {error.errors()[0]['msg']}"
                unreadable = Settlement.failed(FailureReason.BAD_INPUT, message)
                self._settle(session, row, unreadable, actor=worker_id, now=now)
                return None
            return Claim(
                job_id=row.id,
                attempt=row.attempt,
                lease_token=token,
                spec=spec,
                created_at=to_time(row.created_at),
                tracking_run_id=row.tracking_run_id,
                worker_id=worker_id,
            )

    def heartbeat(self, claim: Claim, *, lease_s: float) -> Desired:
        """Prolong the lease and learn what the client wants.

        Raises:
            LeaseLost: the lease ran out and the job was taken away.
        """
        with self.transactions.writing() as (session, now):
            prolonged = update(JobRow).where(*_fence(claim)).values(lease_expires_at=now + _ms(lease_s))
            desired = session.scalar(prolonged.returning(JobRow.desired))
            if desired is None:
                raise _lost(claim)
            return Desired(desired)

    def start(self, claim: Claim, *, pid: int | None = None) -> None:
        """The attempt's child process runs: claimed -> running.

        Raises:
            LeaseLost: the lease ran out and the job was taken away.
        """
        with self.transactions.writing() as (session, now):
            row = _leased(session, claim)
            row.started_at = row.started_at or now
            self._move(session, row, JobState.RUNNING, actor=claim.worker_id, note=None, now=now)
            _open_attempt(session, claim).pid = pid

    def begin_stopping(self, claim: Claim, *, note: str | None = None) -> None:
        """The child was asked to stop: -> stopping. Saying it again changes nothing.

        Raises:
            LeaseLost: the lease ran out and the job was taken away.
        """
        with self.transactions.writing() as (session, now):
            row = _leased(session, claim)
            if row.state != JobState.STOPPING:
                self._move(session, row, JobState.STOPPING, actor=claim.worker_id, note=note, now=now)

    def record_progress(self, claim: Claim, progress: JobProgress) -> None:
        """Replace the job's progress.

        Raises:
            LeaseLost: the lease ran out and the job was taken away.
        """
        with self.transactions.writing() as (session, now):
            values = {"progress": progress.model_dump(mode="json"), "updated_at": now}
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
        """End the attempt, and the job unless another attempt is due; one transaction.

        A `retry` becomes `cancelled` where the client asked for the end, and `failed` where no attempt is left.

        Raises:
            LeaseLost: the lease ran out and the job was taken away; nothing was written.
        """
        with self.transactions.writing() as (session, now):
            row = _leased(session, claim)
            self._settle(session, row, settlement, actor=claim.worker_id, now=now)
            return _with_attempts(session, row)

    def attach_tracking(self, job_id: str, run_id: str) -> str:
        """Tie the job to its MLflow run, once; returns the run it is tied to, which an earlier attempt may have made.

        Raises:
            JobNotFound: no job has this id.
        """
        with self.transactions.writing() as (session, now):
            row = _row(session, job_id, lock=True)
            if row.tracking_run_id is None:
                row.tracking_run_id = run_id
                row.updated_at = now
            return row.tracking_run_id

    def rescue_lost(self) -> list[str]:
        """Take jobs from workers whose lease ran out; their ids. Each waits for a retry, fails or is cancelled."""
        with self.transactions.writing() as (session, now):
            expired = (
                select(JobRow)
                .where(JobRow.state.in_(sorted(LEASED)), JobRow.lease_expires_at < now)
                .order_by(JobRow.lease_expires_at)
                .with_for_update(skip_locked=True)
            )
            rows = list(session.scalars(expired))
            for row in rows:
                lost = f"attempt {row.attempt} was lost: worker {row.lease_owner} stopped renewing its lease"
                self._settle(session, row, Settlement.retry(FailureReason.LOST_WORKER, lost), actor=RESCUE, now=now)
            return [row.id for row in rows]

    # How a job moves.

    def _settle(self, session: Session, row: JobRow, settlement: Settlement, *, actor: str, now: int) -> None:
        target, reason, message = settlement.state, settlement.reason, settlement.message
        if target is JobState.RETRY_WAIT and reason is not None:
            decision = self._retry.decide(reason, attempt=row.attempt, max_attempts=row.max_attempts)
            if row.desired == Desired.CANCEL:
                target, reason = JobState.CANCELLED, FailureReason.USER
                message = f"cancelled on request; {message}"
            elif not settlement.counted:
                row.available_at = now
                row.max_attempts += 1
            elif decision.again:
                row.available_at = now + _ms(decision.delay_s)
            else:
                target = JobState.FAILED
                message = f"{message}; that was attempt {row.attempt} of {row.max_attempts}"
        message = None if message is None else message[:MESSAGE_LENGTH]
        row.results = settlement.results
        row.failure_reason = reason
        row.failure_message = message
        attempt = session.get_one(AttemptRow, (row.id, row.attempt))
        attempt.ended_at, attempt.outcome, attempt.exit_reason, attempt.message = now, target, reason, message
        self._move(session, row, target, actor=actor, note=message, now=now)

    def _move(self, session: Session, row: JobRow, target: JobState, *, actor: str, note: str | None, now: int) -> None:
        source = JobState(row.state)
        if target not in TRANSITIONS[source]:
            raise IllegalTransition(f"job {row.id} is {source} and cannot become {target}")
        row.state = target
        row.updated_at = now
        if not target.is_leased:
            row.lease_token = row.lease_owner = row.lease_expires_at = None
        if target.is_terminal:
            row.ended_at = now
        append_event(session, row, source, actor=actor, note=note, now=now)


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


def _row(session: Session, job_id: str, *, lock: bool = False) -> JobRow:
    query = select(JobRow).where(JobRow.id == job_id)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise JobNotFound(f"no job has the id {job_id!r}; GET /v1/jobs lists them")
    return row


def _with_attempts(session: Session, row: JobRow) -> Job:
    session.flush()
    attempts = session.scalars(select(AttemptRow).where(AttemptRow.job_id == row.id).order_by(AttemptRow.attempt))
    return read_job(row, tuple(attempts))


def _keyed(session: Session, key: str) -> JobRow | None:
    return session.scalar(select(JobRow).where(JobRow.idempotency_key == key))


def _replay(session: Session, row: JobRow, body_digest: str) -> Job:
    if row.body_digest != body_digest:
        raise IdempotencyKeyReused(
            f"this Idempotency-Key made job {row.id} from another body; send a new key with a new request"
        )
    return _with_attempts(session, row)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
