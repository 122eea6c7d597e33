import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from tests.service.in_process import serving


@pytest.fixture
def settings(tmp_path: Path, sqlite_template: Path) -> ServiceSettings:
    shutil.copy(sqlite_template, tmp_path / "queue.db")
    return ServiceSettings(home=tmp_path, tracking_url="http://mlflow.test/")


@pytest.fixture
def app(settings: ServiceSettings) -> FastAPI:
    return create_app(settings)


@pytest.fixture
def api(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of the API in this process, on an empty queue."""
    with serving(app) as transport, httpx.Client(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.fixture
def jobs(app: FastAPI) -> JobQueue:
    """The queue behind the API, as a worker sees it."""
    queue: JobQueue = app.state.queue
    return queue
