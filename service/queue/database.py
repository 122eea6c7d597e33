"""The queue's database: one engine for SQLite and PostgreSQL, and the clock by which leases run."""

import sqlite3
from typing import Any, Final, Protocol

from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, create_engine, event, literal_column
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from service.errors import ServiceError
from service.queue.postgresql import ANSWER_TIMEOUT_S, open_postgresql

BUSY_TIMEOUT_MS: Final = 30_000
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


def open_database(database_url: str, *, answer_timeout_s: float | None = ANSWER_TIMEOUT_S) -> Engine:
    """An engine on the queue's database; nothing is connected yet, `migrations.upgrade` makes the tables.

    A statement that PostgreSQL does not answer in `answer_timeout_s` fails; None: whoever sent it waits for ever.
    SQLite has one writer at a time, so one connection a process waits least (a pool of eight had ten times its p99).
    """
    url = parse_url(database_url)
    if url.get_backend_name() != "sqlite":
        return open_postgresql(url, answer_timeout_s=answer_timeout_s)
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
