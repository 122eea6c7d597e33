import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Engine, inspect, text

from sdcn_core.config.data import VocSource
from service.errors import DatabaseUnavailable
from service.jobs.data_specs import DatasetSpec
from service.jobs.specs import TrainSpec
from service.queue.database import UnknownDatabase, open_database, parse_url
from service.queue.datasets import DatasetRegister
from service.queue.migrations import current_revision, downgrade, head_revision, upgrade
from service.queue.repository import JobQueue
from service.queue.tables import Base


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new' / 'queue.db'}"
        return
    server: str = request.getfixturevalue("postgres_server")
    engine = open_database(server).execution_options(isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE migrations"))
    yield server.replace("/postgres?", "/migrations?")
    with engine.connect() as connection:
        connection.execute(text("DROP DATABASE migrations WITH (FORCE)"))
    engine.dispose()


def tables(url: str) -> set[str]:
    engine = open_database(url)
    names = set(inspect(engine).get_table_names())
    engine.dispose()
    return names


def test_upgrading_makes_the_tables_and_downgrading_removes_them(empty_url: str) -> None:
    upgrade(empty_url)
    assert tables(empty_url) == set(Base.metadata.tables) | {"alembic_version"}
    downgrade(empty_url, "base")
    assert tables(empty_url) == {"alembic_version"}
    upgrade(empty_url)


def test_jobs_survive_the_way_back_to_a_version_without_data_sets(empty_url: str) -> None:
    upgrade(empty_url)
    engine = open_database(empty_url)
    job, _ = JobQueue(engine).enqueue(TrainSpec(preset="tiny").resolve(), idempotency_key=None, body_digest="")
    DatasetRegister(engine).register(DatasetSpec(name="animals", source=VocSource(path="animals")))
    downgrade(empty_url, "0001")
    assert tables(empty_url) == {"job", "job_attempt", "job_event", "alembic_version"}
    upgrade(empty_url)
    assert JobQueue(engine).get(job.job_id) == job
    assert DatasetRegister(engine).page(limit=10).datasets == ()
    engine.dispose()


OLD_JOBS = """
INSERT INTO job (id, kind, spec, config_digest, state, desired, priority, attempt, max_attempts, available_at,
                 lease_token, lease_owner, lease_expires_at, body_digest, created_at, updated_at)
VALUES ('aa', 'train', '{}', 'd', 'running', 'cancel', 0, 1, 3, 5, 't', 'w', 9, 'b', 5, 7),
       ('bb', 'train', '{}', 'd', 'retry_wait', 'run', 0, 2, 3, 5, NULL, NULL, NULL, 'b', 5, 7),
       ('cc', 'check_data', '{}', 'd', 'failed', 'run', 0, 1, 3, 5, NULL, NULL, NULL, 'b', 5, 7);
INSERT INTO job_attempt (job_id, attempt, worker_id, started_at) VALUES ('aa', 1, 'w', 6), ('bb', 1, 'w', 6);
INSERT INTO job_event (job_id, attempt, from_state, to_state, actor, at)
VALUES ('aa', 0, NULL, 'queued', 'api', 5), ('aa', 1, 'queued', 'claimed', 'w', 6),
       ('aa', 1, 'claimed', 'running', 'w', 7);
INSERT INTO dataset (name, source, check_job_id, created_at) VALUES ('animals', '{}', 'cc', 5)
"""


def rows(engine: Engine, query: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_jobs_with_their_trails_come_along_to_deadlines_and_budgets(empty_url: str) -> None:
    upgrade(empty_url, "0002")
    engine = open_database(empty_url)
    with engine.begin() as connection:
        for statement in OLD_JOBS.split(";\n"):
            connection.exec_driver_sql(statement)
    upgrade(empty_url)
    counts = "SELECT id, state, state_at, failed_attempts, lost_attempts, max_lost_attempts FROM job ORDER BY id"
    assert rows(engine, counts) == [
        ("aa", "running", 7, 0, 0, 10),
        ("bb", "retry_wait", 7, 0, 2, 10),
        ("cc", "failed", 7, 0, 0, 10),
    ]
    assert len(rows(engine, "SELECT * FROM job_attempt")) == 2
    assert [row[0] for row in rows(engine, "SELECT to_state FROM job_event ORDER BY id")] == [
        "queued",
        "claimed",
        "running",
    ]
    assert rows(engine, "SELECT name FROM dataset") == [("animals",)]
    engine.dispose()


def test_on_the_way_back_to_one_budget_no_job_begins_that_should_not(empty_url: str) -> None:
    upgrade(empty_url)
    engine = open_database(empty_url)
    queue = JobQueue(engine)
    spec = TrainSpec(preset="tiny").resolve()
    at_work, paused, waiting = (queue.enqueue(spec, idempotency_key=None, body_digest="")[0].job_id for _ in range(3))
    blocked, _ = queue.enqueue(spec.model_copy(update={"after": (paused,)}), idempotency_key=None, body_digest="")
    queue.request_pause(paused)
    claim = queue.claim("w", lease_s=60)
    assert claim is not None
    queue.start(claim)
    queue.request_cancel(claim.job_id, force=True)
    downgrade(empty_url, "0002")
    other = ({at_work, waiting} - {claim.job_id}).pop()
    assert dict(rows(engine, "SELECT id, state FROM job")) == {
        claim.job_id: "running",
        paused: "cancelled",
        other: "queued",
        blocked.job_id: "cancelled",
    }
    assert rows(engine, f"SELECT desired FROM job WHERE id = '{claim.job_id}'") == [("cancel",)]
    assert len(rows(engine, "SELECT * FROM job_event")) == 6
    upgrade(empty_url)
    assert queue.get(paused).failure is not None
    engine.dispose()


def test_migrated_tables_are_those_of_the_code(empty_url: str) -> None:
    upgrade(empty_url)
    engine = open_database(empty_url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()
    # A descending column is more than Alembic can compare; test_claims has that index in use.
    assert [found for found in differences if getattr(found[1], "name", "") != "ix_job_claim"] == []


def test_migrated_checks_are_those_of_the_code(sqlite_template: Path) -> None:
    """Alembic does not compare checks; SQLite keeps their text."""
    engine = open_database(f"sqlite:///{sqlite_template}")
    found = {
        check["name"]: check["sqltext"]
        for table in Base.metadata.tables
        for check in inspect(engine).get_check_constraints(table)
    }
    engine.dispose()
    wanted = {
        str(check.name): str(check.sqltext)
        for table in Base.metadata.tables.values()
        for check in table.constraints
        if isinstance(check, CheckConstraint)
    }
    assert found == wanted


def test_upgrading_twice_changes_nothing(empty_url: str) -> None:
    upgrade(empty_url)
    upgrade(empty_url)
    engine = open_database(empty_url)
    assert current_revision(engine) == head_revision()
    engine.dispose()


def test_processes_may_upgrade_at_once(empty_url: str) -> None:
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(upgrade, [empty_url] * 3))
    assert "job" in tables(empty_url)


def test_a_file_database_survives_a_power_cut_and_lets_readers_in(sqlite_template: Path) -> None:
    engine = open_database(f"sqlite:///{sqlite_template}")
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")
        }
    engine.dispose()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2}  # 2 is FULL


def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        upgrade("postgresql://user:geheim@127.0.0.1:1/none")
    assert "127.0.0.1" in str(caught.value)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("url", ["mysql://host/name", "sqlite://", "sqlite:///:memory:", "no url"])
def test_another_database_is_refused_with_those_that_are_possible(url: str) -> None:
    with pytest.raises(UnknownDatabase, match="sqlite:///path"):
        parse_url(url)


def test_the_command_brings_tables_up_to_date_and_says_where_they_are(empty_url: str, tmp_path: Path) -> None:
    for _ in range(2):  # the second finds nothing to do
        done = migrated(empty_url, tmp_path)
        assert done.returncode == 0
        assert json.loads(done.stderr)["revision"] == head_revision()


def test_the_command_says_which_database_cannot_be_used(tmp_path: Path) -> None:
    done = migrated("postgresql://sdcn@127.0.0.1:1/queue", tmp_path)
    assert done.returncode == 1
    assert "127.0.0.1:1/queue" in json.loads(done.stderr)["reason"]


def test_the_command_names_a_setting_that_is_wrong(tmp_path: Path) -> None:
    done = migrated("sqlite:///queue.db", tmp_path, SDCN_DATABASE_PASSWORD="geheim")
    assert done.returncode == 2
    assert "SDCN_DATABASE_PASSWORD" in json.loads(done.stderr)["reason"]
    assert "geheim" not in done.stderr


def migrated(url: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SDCN_HOME": str(home), "SDCN_DATABASE_URL": url, **variables}
    return subprocess.run(
        [sys.executable, "-m", "service.migrate"], env=environment, capture_output=True, text=True, check=False
    )
