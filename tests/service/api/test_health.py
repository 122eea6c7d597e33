import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from service.app import create_app
from service.queue.repository import JobQueue
from service.settings import ServiceSettings


def test_a_live_process_says_so(api: httpx.Client) -> None:
    assert api.get("/healthz").json() == {"status": "alive"}


def test_a_ready_service_tells_how_long_jobs_wait(api: httpx.Client) -> None:
    assert api.get("/readyz").json() == {"status": "ready", "jobs": {}, "oldest_waiting_s": None}
    api.post("/v1/jobs", json={"preset": "tiny"})
    ready = api.get("/readyz").json()
    assert ready["jobs"] == {"queued": 1}
    assert ready["oldest_waiting_s"] >= 0


def test_without_its_database_the_service_is_alive_but_not_ready(
    api: httpx.Client, jobs: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("password=geheim"))

    monkeypatch.setattr(jobs.transactions.engine, "connect", down)
    answer = api.get("/readyz")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "database" in answer.json()["detail"]
    assert "geheim" not in answer.text
    assert api.get("/healthz").status_code == 200
    assert api.post("/v1/jobs", json={"preset": "tiny"}).status_code == 503


def test_building_the_application_touches_nothing() -> None:
    app = create_app(ServiceSettings(database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none")))
    assert app.state.queue is not None
