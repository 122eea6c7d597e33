"""Transactions of the queue's database, with its clock; that it cannot be reached is told in the service's words."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Engine, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from service.errors import DatabaseUnavailable
from service.queue.database import READ_ONLY, Clock, DatabaseClock

DISK_FULL: Final = "53100"
"""PostgreSQL's SQLSTATE of a full disk"""


class Transactions:
    """Transactions of one database, safe to use from many threads at once."""

    def __init__(self, engine: Engine, clock: Clock | None = None) -> None:
        self.engine = engine
        self.now_ms = (clock or DatabaseClock()).now_ms(engine.dialect.name)
        """the database's time, as an SQL expression"""
        self._is_postgresql = engine.dialect.name == "postgresql"  # on SQLite a transaction is a snapshot always

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
        except (DBAPIError, PoolTimeout) as error:
            if (unavailable := _unavailable(error)) is None:
                raise
            raise unavailable from error

    @contextmanager
    def reading(self, *, snapshot: bool = False) -> Iterator[Session]:
        """One that only reads. `snapshot`: all its statements see the same moment, not each its own.

        Raises:
            DatabaseUnavailable: the database does not answer.
        """
        options = READ_ONLY | ({"isolation_level": "REPEATABLE READ"} if snapshot and self._is_postgresql else {})
        try:
            with self.engine.connect().execution_options(**options) as connection, Session(connection) as session:
                yield session
        except (DBAPIError, PoolTimeout) as error:
            if (unavailable := _unavailable(error)) is None:
                raise
            raise unavailable from error


def _unavailable(error: DBAPIError | PoolTimeout) -> DatabaseUnavailable | None:
    """What to tell where the database cannot do its work; None: it can, and the statement was wrong."""
    if isinstance(error, DBAPIError):
        if not (isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated):
            return None
        if _is_full(error):
            return DatabaseUnavailable(
                "the queue's database cannot be written, for its disk is full: free some space, then try again"
            )
    return DatabaseUnavailable(f"the queue's database does not answer ({type(error).__name__}); try again in a moment")


def _is_full(error: DBAPIError) -> bool:
    by_sqlite, by_postgres = (getattr(error.orig, name, None) for name in ("sqlite_errorcode", "sqlstate"))
    return bool(by_sqlite == sqlite3.SQLITE_FULL or by_postgres == DISK_FULL)
