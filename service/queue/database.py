"""The queue's database: one engine for SQLite and PostgreSQL, and the clock by which leases run."""

import sqlite3
from typing import Any, Final, Protocol

from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, create_engine, event, literal_column
from sqlalchemy.engine import URL, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError

from service.errors import ServiceError

BUSY_TIMEOUT_MS: Final = 30_000
SILENCE: Final = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}
"""What libpq bears of a server that is gone without a word: 15 s, well within a lease, then the call fails."""
IDLE_TRANSACTION_MS: Final = 15_000
"""A process that is stopped within a transaction would keep its rows from those who take over: PostgreSQL ends it."""
READ_ONLY: Final = {"sdcn_read_only": True}
"""Execution options of a transaction that only reads: on SQLite it then takes no write lock."""


class UnknownDatabase(ServiceError):
    """The database URL names a database this service does not speak."""


class Clock(Protocol):
    """Says the time in SQL, so that every process judges a lease by the same clock."""

    def now_ms(self, dialect: str) -> ColumnElement[int]:
        """Milliseconds since 1970 in UTC as an SQL expression of `dialect` (sqlite or postgresql)."""
        ...


class DatabaseClock:
    """The database's own clock: the only one all workers and the API share."""

    def now_ms(self, dialect: str) -> ColumnElement[int]:
        if dialect == "postgresql":
            return literal_column("CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)", BigInteger)
        # 2440587.5 is 1970-01-01 as a Julian day; unixepoch('subsec') needs a newer SQLite than Debian 12 has.
        return literal_column("CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)", BigInteger)


def parse_url(database_url: str) -> URL:
    """The URL with its driver made explicit: sqlite, or PostgreSQL through psycopg.

    Raises:
        UnknownDatabase: neither of the two.
    """
    try:
        url = make_url(database_url)
    except ArgumentError:
        raise UnknownDatabase(
            "the database URL cannot be read: use sqlite:///path or postgresql://user@host/name"
        ) from None
    match url.get_backend_name():
        case "sqlite":
            if url.database in {None, "", ":memory:"}:
                raise UnknownDatabase("an SQLite database in memory cannot be shared: name a file, sqlite:///path")
            return url.set(drivername="sqlite")
        case "postgresql" | "postgres":
            return url.set(drivername="postgresql+psycopg")
        case other:
            raise UnknownDatabase(f"{other} is not supported: use sqlite:///path or postgresql://user@host/name")


def open_database(database_url: str) -> Engine:
    """An engine on the queue's database; nothing is connected yet, `migrations.upgrade` makes the tables.

    SQLite has one writer at a time, so one connection a process waits least (a pool of eight had ten times its p99).
    """
    url = parse_url(database_url)
    if url.get_backend_name() != "sqlite":
        engine = create_engine(url, pool_size=5, max_overflow=5, pool_pre_ping=True, connect_args=dict(SILENCE))
        event.listen(engine, "connect", _set_up_postgresql)
        return engine
    engine = create_engine(
        url,
        pool_size=1,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_postgresql(connection: DBAPIConnection, _record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's private type
    connection.cursor().execute(f"SET idle_in_transaction_session_timeout = {IDLE_TRANSACTION_MS}")
    connection.commit()


def _set_up_sqlite(connection: sqlite3.Connection, _record: Any) -> None:  # noqa: ANN401 - SQLAlchemy's private type
    connection.isolation_level = None  # the driver must not begin transactions of its own: _begin_sqlite does
    for pragma in (
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "synchronous = FULL",  # NORMAL may lose the last acknowledged jobs when the power fails
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at the start: a transaction that reads first and writes later could not wait for it."""
    read_only = connection.get_execution_options().get("sdcn_read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
