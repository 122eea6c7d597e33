import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.jobs.access import KeySpec, Scope
from service.queue.keys import KeyRegister
from service.settings import ServiceSettings
from tests.service.in_process import InProcess, serving

GiveKey = Callable[..., str]
Open = Callable[..., httpx.Client]


@pytest.fixture
def app(tmp_path: Path, sqlite_template: Path) -> FastAPI:
    """The service as it is where it is not open."""
    shutil.copy(sqlite_template, tmp_path / "queue.db")
    return create_app(ServiceSettings(home=tmp_path, open_on_loopback=False))


@pytest.fixture
def transport(app: FastAPI) -> Iterator[InProcess]:
    with serving(app) as transport:
        yield transport


@pytest.fixture
def register(app: FastAPI) -> KeyRegister:
    register: KeyRegister = app.state.keys
    return register


@pytest.fixture
def give_key(register: KeyRegister) -> GiveKey:
    """Makes a key of a scope."""

    def give(scope: Scope, *, name: str = "ada", valid_s: int | None = None) -> str:
        return register.create(KeySpec(name=name, scope=scope, valid_s=valid_s))[1].text

    return give


@pytest.fixture
def client_with(transport: InProcess) -> Open:
    """A client that sends this key; none: it sends nothing."""

    def client(key: str | None = None, **headers: str) -> httpx.Client:
        shown = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(transport=transport, base_url="http://localhost", headers=shown | headers)

    return client


@pytest.fixture
def settings_open(tmp_path: Path, sqlite_template: Path) -> ServiceSettings:
    shutil.copy(sqlite_template, tmp_path / "queue.db")
    return ServiceSettings(home=tmp_path, open_on_loopback=True)
