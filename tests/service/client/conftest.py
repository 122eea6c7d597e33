import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from service.app import create_app
from service.client import SdcnClient
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from tests.service.client.contract import Contract
from tests.service.in_process import serving

URL = "http://localhost"


@pytest.fixture
def app(tmp_path: Path, sqlite_template: Path) -> FastAPI:
    shutil.copy(sqlite_template, tmp_path / "queue.db")
    return create_app(ServiceSettings(home=tmp_path, tracking_url="http://mlflow.test"))


@pytest.fixture(scope="session")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The OpenAPI document; it takes a second to make."""
    return create_app(ServiceSettings(home=tmp_path_factory.mktemp("home"))).openapi()


@pytest.fixture
def transport(app: FastAPI, document: dict[str, Any]) -> Iterator[Contract]:
    with serving(app) as transport:
        yield Contract(transport, document)


@pytest.fixture
def client(transport: Contract) -> Iterator[SdcnClient]:
    with SdcnClient(URL, transport=transport) as client:
        yield client


@pytest.fixture
def jobs(app: FastAPI) -> JobQueue:
    """The queue behind the API, as a worker sees it."""
    queue: JobQueue = app.state.queue
    return queue
