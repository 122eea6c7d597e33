"""A new job's row, within the transaction of whoever asks for it."""

import secrets
from typing import Final

from sqlalchemy.orm import Session

from service.jobs.gpus import gpus_at_once
from service.jobs.specs import JobSpec
from service.jobs.states import Desired, JobState
from service.queue.callers import current_caller
from service.queue.dependencies import note_dependencies, wait_for
from service.queue.outbox import post_to_webhooks
from service.queue.quotas import charge
from service.queue.tables import JobEventRow, JobRow

API: Final = "api"


def insert_job(
    session: Session, spec: JobSpec, *, key: str | None, body_digest: str, now: int, cloned_from: str | None = None
) -> JobRow:
    """Add a job that waits for its first claim, or for the jobs that it names.

    Args:
        session: of the transaction.
        spec: resolved.
        key: the Idempotency-Key.
        body_digest: sha256 of the request.
        now: the database's time, ms.
        cloned_from: id of the job whose spec it was made from.

    Raises:
        InvalidSpec: a job that it is to wait for is not there, or has ended without success; or it asks for more GPUs
            than the key may have.
        QuotaExceeded: as many jobs of the key wait as may.
    """
    submitted_by, gpus = current_caller().key_id, gpus_at_once(spec)
    charge(session, submitted_by, gpus=gpus)
    row = JobRow(
        id=secrets.token_hex(6),
        kind=spec.kind,
        name=spec.name,
        spec=spec.model_dump(mode="json"),
        config_digest=spec.config_digest,
        state=wait_for(session, spec.after),
        desired=Desired.RUN,
        priority=spec.priority,
        attempt=0,
        failed_attempts=0,
        lost_attempts=0,
        max_attempts=spec.max_attempts,
        max_lost_attempts=spec.max_lost_attempts,
        available_at=now,
        state_at=now,
        ran_ms=0,
        submitted_by=submitted_by,
        gpus=gpus,
        idempotency_key=key,
        body_digest=body_digest,
        cloned_from=cloned_from,
        created_at=now,
        updated_at=now,
    )
    session.add(row)
    session.flush()
    note_dependencies(session, row.id, spec.after)
    append_event(session, row, None, actor=API, note=None, now=now)
    return row


def append_event(
    session: Session, row: JobRow, source: JobState | None, *, actor: str, note: str | None, now: int
) -> None:
    """One line of the audit trail: the job has come from `source` to where it is. With it goes a message to each
    webhook that wants to be told.
    """
    event = JobEventRow(
        job_id=row.id, attempt=row.attempt, from_state=source, to_state=row.state, actor=actor, note=note, at=now
    )
    session.add(event)
    session.flush()
    post_to_webhooks(session, row, event)
