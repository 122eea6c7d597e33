"""Which jobs use a registered data set: it stays registered until they have ended."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.errors import DatasetNotFound
from service.jobs.states import JobState
from service.queue.tables import DatasetRow, JobDatasetRow, JobRow

SHOWN_NAMES = 20


def use_datasets(session: Session, job_id: str, names: Collection[str]) -> None:
    """Note that the job uses the data sets, which nobody can remove meanwhile.

    Raises:
        DatasetNotFound: one of them is not registered.
    """
    for name in sorted(names):  # in one order, so that two jobs never wait for each other
        held = select(DatasetRow.name).where(DatasetRow.name == name).with_for_update(read=True, key_share=True)
        if session.scalar(held) is None:
            raise unknown_dataset(session, name)
        session.add(JobDatasetRow(job_id=job_id, dataset_name=name))


def unfinished_users(session: Session, name: str) -> list[str]:
    """Ids of the jobs that use the data set and have not ended, oldest first."""
    ended = sorted(state for state in JobState if state.is_terminal)
    query = (
        select(JobRow.id)
        .join(JobDatasetRow, JobDatasetRow.job_id == JobRow.id)
        .where(JobDatasetRow.dataset_name == name, JobRow.state.not_in(ended))
        .order_by(JobRow.created_at, JobRow.id)
    )
    return list(session.scalars(query))


def unknown_dataset(session: Session, name: str) -> DatasetNotFound:
    """The error that names those there are."""
    known = list(session.scalars(select(DatasetRow.name).order_by(DatasetRow.name).limit(SHOWN_NAMES + 1)))
    more = ", ..." if len(known) > SHOWN_NAMES else ""
    listed = f"there are: {', '.join(known[:SHOWN_NAMES])}{more}" if known else "there is none yet: POST /v1/datasets"
    return DatasetNotFound(f"no data set is registered as {name[:100]!r}; {listed}")
