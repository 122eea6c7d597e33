"""All the SQL about registered data sets: register, look up, check again, remove."""

from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from service.errors import DatasetExists, DatasetInUse
from service.jobs.access import Action
from service.jobs.data_specs import CheckDataSpec, DatasetSpec
from service.jobs.states import JobState
from service.queue.audit import note_action
from service.queue.database import Clock
from service.queue.dataset_use import unfinished_users, unknown_dataset, use_datasets
from service.queue.new_jobs import insert_job
from service.queue.reading import read_dataset
from service.queue.records import Dataset, DatasetPage
from service.queue.tables import DatasetRow, JobRow
from service.queue.transactions import Transactions

SHOWN_JOBS = 5


class DatasetRegister:
    """The registered data sets, safe to use from many threads and processes at once."""

    def __init__(self, engine: Engine, *, clock: Clock | None = None) -> None:
        self.transactions = Transactions(engine, clock)

    def register(self, spec: DatasetSpec) -> Dataset:
        """Store a data set together with the job that checks it; on return both are durable.

        Raises:
            DatasetExists: the name is taken.
        """
        try:
            with self.transactions.writing() as (session, now):
                check = _insert_check(session, spec, now)
                row = DatasetRow(
                    name=spec.name, source=spec.source.model_dump(mode="json"), check_job_id=check.id, created_at=now
                )
                session.add(row)
                session.flush()
                use_datasets(session, check.id, (spec.name,))
                note_action(session, Action.DATASET_ADD, spec.name, now=now, job=check.id)
                return read_dataset(row, check)
        except IntegrityError:
            raise DatasetExists(
                f"a data set is registered as {spec.name!r} already: take another name, or remove that one first"
                f" (DELETE /v1/datasets/{spec.name}); POST /v1/datasets/{spec.name}/check checks it again"
            ) from None

    def get(self, name: str) -> Dataset:
        """The data set of this name, as a client wrote it.

        Raises:
            DatasetNotFound: there is none; the message names those there are.
        """
        with self.transactions.reading() as session:
            row = _row(session, name)
            return read_dataset(row, session.get_one(JobRow, row.check_job_id))

    def page(self, *, limit: int, after: str | None = None) -> DatasetPage:
        """At most `limit` data sets in the order of their names, those behind `after`."""
        query = (
            select(DatasetRow, JobRow)
            .join(JobRow, JobRow.id == DatasetRow.check_job_id)
            .order_by(DatasetRow.name)
            .limit(limit + 1)
        )
        if after is not None:
            query = query.where(DatasetRow.name > after)
        with self.transactions.reading() as session:
            found = tuple(read_dataset(row, check) for row, check in session.execute(query))
        return DatasetPage(found[:limit], found[limit - 1].name if len(found) > limit else None)

    def check_again(self, name: str) -> Dataset:
        """Queue another check. While one has not ended that one is kept, so asking twice asks once.

        Raises:
            DatasetNotFound: there is no such data set.
            InvalidSpec: another version registered it, in words that this one cannot read.
        """
        with self.transactions.writing() as (session, now):
            row = _row(session, name, lock=True)
            check = session.get_one(JobRow, row.check_job_id)
            if JobState(check.state).is_terminal:
                check = _insert_check(session, read_dataset(row, check).spec(), now)
                use_datasets(session, check.id, (name,))
                row.check_job_id = check.id
                session.flush()
            note_action(session, Action.DATASET_CHECK, name, now=now, job=check.id)
            return read_dataset(row, check)

    def remove(self, name: str) -> None:
        """Forget the data set; its files stay.

        Raises:
            DatasetNotFound: there is no such data set.
            DatasetInUse: jobs that have not ended use it; the message names them.
        """
        with self.transactions.writing() as (session, now):
            row = _row(session, name, lock=True)
            if users := unfinished_users(session, name):
                more = f" and {len(users) - SHOWN_JOBS} more" if len(users) > SHOWN_JOBS else ""
                raise DatasetInUse(
                    f"{name!r} is used by jobs that have not ended ({', '.join(users[:SHOWN_JOBS])}{more}): wait for"
                    " them, or cancel them first"
                )
            session.delete(row)
            note_action(session, Action.DATASET_REMOVE, name, now=now)


def _insert_check(session: Session, spec: DatasetSpec, now: int) -> JobRow:
    check = CheckDataSpec(name=spec.name, source=spec.source).resolve()
    return insert_job(session, check, key=None, body_digest=check.config_digest, now=now)


def _row(session: Session, name: str, *, lock: bool = False) -> DatasetRow:
    query = select(DatasetRow).where(DatasetRow.name == name)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise unknown_dataset(session, name)
    return row
