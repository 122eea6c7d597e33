import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from service.app import create_app
from service.client import SdcnClient
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from service.watching.watcher import Watcher
from tests.service.server import listening

MAX_STREAMS = 3


@pytest.fixture
def app(tmp_path: Path, sqlite_template: Path) -> FastAPI:
    """The API with a poller that is quick, and few streams."""
    shutil.copy(sqlite_template, tmp_path / "queue.db")
    app = create_app(ServiceSettings(home=tmp_path))
    app.state.watcher = Watcher(app.state.events, max_streams=MAX_STREAMS, interval_s=0.02, ping_s=0.2)
    return app


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with listening(app) as url:
        yield url


@pytest.fixture
def client(url: str) -> Iterator[SdcnClient]:
    with SdcnClient(url) as client:
        yield client


@pytest.fixture
def jobs(app: FastAPI) -> JobQueue:
    queue: JobQueue = app.state.queue
    return queue
