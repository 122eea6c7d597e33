import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import structlog
from fastapi import FastAPI

from service.app import create_app
from service.queue.migrations import upgrade
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from tests.service.in_process import serving
from tests.web.examples import Examples


@pytest.fixture(scope="session", autouse=True)
def quiet_log() -> None:
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "queue.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path) -> ServiceSettings:
    shutil.copy(sqlite_template, tmp_path / "queue.db")
    return ServiceSettings(
        home=tmp_path, tracking_url="http://mlflow.test/", ray_dashboard_url="http://ray.test/", predictor_url=None
    )


@pytest.fixture
def app(settings: ServiceSettings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def browser_like(app: FastAPI) -> Iterator[httpx.Client]:
    """Asks for pages as a browser does, and follows where they lead."""
    headers = {"Accept": "text/html,*/*;q=0.8", "Sec-Fetch-Site": "same-origin"}
    with (
        serving(app) as transport,
        httpx.Client(
            transport=transport, base_url="http://localhost", headers=headers, follow_redirects=True
        ) as client,
    ):
        yield client


@pytest.fixture
def app_client(app: FastAPI) -> Iterator[httpx.Client]:
    """Asks for pages and says nothing of where it comes from."""
    with (
        serving(app) as transport,
        httpx.Client(transport=transport, base_url="http://localhost", headers={"Accept": "text/html"}) as client,
    ):
        yield client


@pytest.fixture
def queue(app: FastAPI) -> JobQueue:
    """The queue behind the pages, as a worker sees it."""
    queue: JobQueue = app.state.queue
    return queue


@pytest.fixture
def examples(queue: JobQueue, settings: ServiceSettings) -> Examples:
    return Examples(queue, settings)
