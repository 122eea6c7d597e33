"""Brings a queue database to a schema version, from code; safe when several processes do it at once."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import OperationalError

from service.errors import DatabaseUnavailable
from service.queue.database import open_database, parse_url

LOCK_KEY: Final = 0x5DC4_0001
"""of PostgreSQL's advisory lock that one migration holds; any number that is ours"""


def upgrade(database_url: str, revision: str = "head") -> None:
    """Create or bring up to date the queue's tables; a file database and its folder are made when missing.

    Raises:
        DatabaseUnavailable: the database cannot be reached or written.
    """
    _migrate(database_url, command.upgrade, revision)


def downgrade(database_url: str, revision: str) -> None:
    """Go back to a revision; "base" removes the tables and what is in them."""
    _migrate(database_url, command.downgrade, revision)


def current_revision(engine: Engine) -> str | None:
    """The revision the database is at; None before the first migration."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head_revision() -> str | None:
    """The newest revision this version of the service knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def _migrate(database_url: str, step: Callable[[Config, str], None], revision: str) -> None:
    path = parse_url(database_url).database
    engine = open_database(database_url, answer_timeout_s=None)  # a table may be large, or another be changing it
    try:
        if engine.dialect.name == "sqlite":
            _use_write_ahead_log(engine, Path(str(path)))
            event.listen(engine, "connect", _without_foreign_keys)
            engine.dispose()
        with engine.begin() as connection:  # on SQLite this takes the write lock, so a second process waits here
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            config = _config()
            config.attributes["connection"] = connection
            step(config, revision)
            if engine.dialect.name == "sqlite":
                _check_foreign_keys(connection)
    except OperationalError as error:
        reason = str(error.orig).strip() or type(error.orig).__name__
        raise DatabaseUnavailable(
            f"the queue's database {engine.url.render_as_string(hide_password=True)} cannot be used: {reason};"
            " check SDCN_DATABASE_URL, and that the server runs or the folder is writable"
        ) from error
    finally:
        engine.dispose()


def _without_foreign_keys(connection: sqlite3.Connection, _record: object) -> None:
    """To change a table SQLite makes another in its place; dropping the first would take along what refers to it."""
    connection.execute("PRAGMA foreign_keys = OFF")


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    assert not broken, f"a migration left rows that refer to nothing: {broken[:5]}"  # rolls it back


def _use_write_ahead_log(engine: Engine, path: Path) -> None:
    """Switch the file to WAL, once and for all. Two processes at once: SQLite refuses one without waiting."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for last_try in (False,) * 50 + (True,):
        try:
            connection = engine.raw_connection()
            try:
                connection.cursor().execute("PRAGMA journal_mode = WAL")
                return
            finally:
                connection.close()
        except sqlite3.OperationalError:
            if last_try:
                raise
            time.sleep(0.1)
