"""What a key may have at once: jobs that wait, which a submit counts, and GPUs at work, which a claim counts."""

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from service.errors import QuotaExceeded
from service.jobs.base_spec import refused
from service.jobs.states import LEASED, WAITING
from service.queue.records import WaitingOn
from service.queue.tables import ApiKeyRow, JobRow


def charge(session: Session, key_id: str | None, *, gpus: int) -> None:
    """Refuse a further job that waits where the key has as many as it may. Submits by one key come one after the other
    from here to the end of their transactions, so that two cannot both be the last.

    Args:
        session: of the transaction that adds the job.
        key_id: of whose it is; None: nobody's, and nothing is counted.
        gpus: how many it will hold at once.

    Raises:
        QuotaExceeded: it has; the job can be sent again when others have begun.
        InvalidSpec: no wait would help, as it asks for more GPUs than the key may ever have.
    """
    key = None if key_id is None else session.get(ApiKeyRow, key_id)
    if key is None:
        return
    if key.max_running_gpus is not None and gpus > key.max_running_gpus:
        raise refused(
            "resources.gpus_per_worker",
            f"the job would hold {gpus} GPUs at once, and the key of {key.name} may have {key.max_running_gpus}: ask"
            " for fewer (a study for fewer with max_parallel), or an admin for a key with more",
        )
    if key.max_queued_jobs is None:
        return
    session.scalar(select(ApiKeyRow.id).where(ApiKeyRow.id == key.id).with_for_update())
    waiting = select(func.count()).where(JobRow.submitted_by == key.id, JobRow.state.in_(sorted(WAITING)))
    if (count := session.scalar(waiting) or 0) >= key.max_queued_jobs:
        raise QuotaExceeded(
            f"{count} jobs of the key of {key.name} wait, and it may have {key.max_queued_jobs}: try again when some"
            " have begun, or cancel one"
        )


def within_quotas(session: Session) -> tuple[ColumnElement[bool], ...]:
    """What a job must meet to be claimed now. Claims come one after the other where any key has a bound, so that two
    cannot both take its last GPUs.
    """
    bounded = select(ApiKeyRow).where(ApiKeyRow.max_running_gpus.is_not(None)).order_by(ApiKeyRow.id)
    keys = list(session.scalars(bounded.with_for_update()))
    return tuple(
        or_(JobRow.submitted_by.is_(None), JobRow.submitted_by != key.id, JobRow.gpus <= _free(session, key))
        for key in keys
    )


def waits_for_quota(session: Session, row: JobRow) -> tuple[WaitingOn, ...]:
    """The key's bound, where that is what the job waits for."""
    key = None if row.submitted_by is None else session.get(ApiKeyRow, row.submitted_by)
    if key is None or key.max_running_gpus is None or row.gpus <= (free := _free(session, key)):
        return ()
    used = key.max_running_gpus - free
    said = f"it will hold {row.gpus} GPUs, and jobs of the key of {key.name} hold {used} of {key.max_running_gpus}"
    return (WaitingOn("quota", said),)


def _free(session: Session, key: ApiKeyRow) -> int:
    """How many GPUs the key, which has a bound, may still have."""
    used = select(func.sum(JobRow.gpus)).where(JobRow.submitted_by == key.id, JobRow.state.in_(sorted(LEASED)))
    return (key.max_running_gpus or 0) - (session.scalar(used) or 0)
