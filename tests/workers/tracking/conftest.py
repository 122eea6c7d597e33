"""What the tests of tracking share: a real MLflow on SQLite, without a server, and a job with its spools."""

from collections.abc import Callable
from pathlib import Path

import pytest

from service.queue.records import Claim, Job
from service.queue.repository import JobQueue
from workers.attempt_folder import RunFolder
from workers.spool import EventSpool

pytest.importorskip("mlflow")
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from workers.tracking.run_writer import Destination
from workers.tracking.tracked_run import describe

Spools = Callable[[int], EventSpool]


@pytest.fixture(scope="session")
def tracking_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One MLflow database for all tests here: making its tables takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(scope="session")
def client(tracking_uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=tracking_uri)


@pytest.fixture
def destination(client: MlflowClient, tmp_path: Path) -> Destination:
    return Destination(client, "test", (tmp_path / "artifacts").as_uri())


@pytest.fixture
def claim(queue: JobQueue, submit: Callable[..., Job]) -> Claim:
    submit()
    claim = queue.claim("worker-a", lease_s=60)
    assert claim is not None
    return claim


@pytest.fixture
def run(claim: Claim, tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "home", claim.job_id)
    describe(claim, run.path)
    return run


@pytest.fixture
def spool_of(run: RunFolder) -> Callable[[int], EventSpool]:
    def open_spool(attempt: int) -> EventSpool:
        run.attempt(attempt).path.mkdir(parents=True, exist_ok=True)
        return EventSpool(run.attempt(attempt).events)

    return open_spool


@pytest.fixture
def recorded(client: MlflowClient, queue: JobQueue, claim: Claim) -> Callable[[], Run]:
    def read() -> Run:
        run_id = queue.get(claim.job_id).tracking_run_id
        assert run_id is not None
        return client.get_run(run_id)

    return read
