"""Transactions of the queue's database, with its clock; that it cannot be reached is told in the service's words."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from service.errors import DatabaseUnavailable
from service.queue.database import READ_ONLY, Clock, DatabaseClock


class Transactions:
    """Transactions of one database, safe to use from many threads at once."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self.engine = engine
        self.now_ms = (clock or DatabaseClock()).now_ms(engine.dialect.name)
        """the database's time, as an SQL expression"""

    @contextmanager
    def writing(self) -> Iterator[tuple[Session, int]]:
        """One transaction and the database's time in it, committed at the end.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        try:
            with Session(self.engine) as session, session.begin():
                now = session.scalar(select(self.now_ms))
                assert now is not None
                yield session, now
        except (OperationalError, PoolTimeout) as error:
            raise _unavailable(error) from error

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """One that only reads.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        try:
            with self.engine.connect().execution_options(**READ_ONLY) as connection, Session(connection) as session:
                yield session
        except (OperationalError, PoolTimeout) as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"the queue's database does not answer ({type(error).__name__}); try again in a moment")
