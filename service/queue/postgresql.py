"""Connections to PostgreSQL on which nobody waits for ever: neither we for the server, nor others for one of us."""

from typing import Any, Final, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Dialect, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection

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
ANSWER_TIMEOUT_S: Final = 20.0
"""What we bear of a server that is stopped: its kernel still takes what is sent, so libpq notices nothing. Longer than
another may keep a row locked."""

Answer = TypeVar("Answer")


class _Connection(psycopg.Connection[Any]):
    """Gives up a statement that is not answered in time, and itself with it.

    Raises:
        psycopg.OperationalError: from whatever waits for the server.
    """

    answer_timeout_s: float | None = None

    def wait(self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        try:
            return super().wait(gen, interval, self.answer_timeout_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()  # the answer may still come, and would be taken for the next statement's
            raise


def open_postgresql(url: URL, *, answer_timeout_s: float | None) -> Engine:
    """An engine whose connections give up a statement that is not answered in that time; None: never.

    Nothing is connected yet.
    """

    def connect(_dialect: Dialect, _record: object, arguments: list[Any], options: dict[str, Any]) -> _Connection:
        connection = _Connection.connect(*arguments, **options)
        connection.answer_timeout_s = answer_timeout_s
        return connection

    engine = create_engine(url, pool_size=5, max_overflow=5, pool_pre_ping=True, connect_args=dict(SILENCE))
    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", _end_idle_transactions)
    return engine


def _end_idle_transactions(connection: DBAPIConnection, _record: object) -> None:
    connection.cursor().execute(f"SET idle_in_transaction_session_timeout = {IDLE_TRANSACTION_MS}")
    connection.commit()
