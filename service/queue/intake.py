"""How a job comes into the queue: stored durably, and only once for one Idempotency-Key."""

from collections.abc import Collection
from hashlib import sha256

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.errors import IdempotencyKeyReused
from service.jobs.access import Action
from service.jobs.specs import JobSpec
from service.queue.audit import note_action
from service.queue.callers import current_caller
from service.queue.dataset_use import use_datasets
from service.queue.new_jobs import insert_job
from service.queue.parts import QueuePart, with_attempts
from service.queue.reading import read_job
from service.queue.records import Job
from service.queue.tables import JobRow


class Intake(QueuePart):
    """The queue, as who submits sees it."""

    def enqueue(
        self,
        spec: JobSpec,
        *,
        idempotency_key: str | None,
        body_digest: str,
        datasets: Collection[str] = (),
        cloned_from: str | None = None,
    ) -> tuple[Job, bool]:
        """Store a resolved spec; on return it is durable. With a known key: the job it made, and False.

        Args:
            spec: resolved.
            idempotency_key: the client's, if it gave one; what others call by the same name is another.
            body_digest: sha256 of the request.
            datasets: registered data sets whose sources the spec has; they stay registered until the job has ended.
            cloned_from: id of the job whose spec it was made from.

        Raises:
            IdempotencyKeyReused: the key came with another body before.
            DatasetNotFound: one of them is not registered (any more).
            InvalidSpec: a job that it is to wait for is not there, or has ended without success.
        """
        key = None if idempotency_key is None else _of_caller(idempotency_key)

        def store() -> tuple[Job, bool]:
            with self.transactions.writing() as (session, now):
                if key is not None and (known := _keyed(session, key)) is not None:
                    return _replay(session, known, body_digest), False
                row = insert_job(session, spec, key=key, body_digest=body_digest, now=now, cloned_from=cloned_from)
                use_datasets(session, row.id, datasets)
                told = {} if cloned_from is None else {"cloned_from": cloned_from}
                note_action(session, Action.JOB_SUBMIT, row.id, now=now, kind=row.kind, name=row.name, **told)
                return read_job(row, ()), True

        try:
            return store()
        except IntegrityError:  # another request with the same key was faster, or an id came twice
            return store()


def _of_caller(idempotency_key: str) -> str:
    """As it is stored: two people who happen upon one word, `1` say, must not be given each other's job."""
    key_id = current_caller().key_id
    return idempotency_key if key_id is None else f"{key_id}/{sha256(idempotency_key.encode()).hexdigest()}"


def _keyed(session: Session, key: str) -> JobRow | None:
    return session.scalar(select(JobRow).where(JobRow.idempotency_key == key))


def _replay(session: Session, row: JobRow, body_digest: str) -> Job:
    if row.body_digest != body_digest:
        raise IdempotencyKeyReused(
            f"this Idempotency-Key made job {row.id} from another body; send a new key with a new request"
        )
    return with_attempts(session, row)
