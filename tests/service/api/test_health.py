import threading
import time

import anyio
import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from service.api import readiness
from service.api.readiness import Readiness
from service.app import create_app
from service.jobs.capacity import Capacity
from service.queue.records import QueueHealth
from service.queue.repository import JobQueue
from service.settings import ServiceSettings


def test_a_live_process_says_so(api: httpx.Client) -> None:
    assert api.get("/healthz").json() == {"status": "alive"}


def test_a_ready_service_tells_how_long_jobs_wait(api: httpx.Client) -> None:
    empty = api.get("/readyz").json()
    assert (empty["status"], empty["jobs"], empty["oldest_waiting_s"]) == ("ready", {}, None)
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


def components(answer: httpx.Response) -> dict[str, dict[str, object]]:
    assert answer.status_code == 200, answer.text
    return {found["name"]: found for found in answer.json()["components"]}


def test_what_the_settings_do_not_name_is_not_asked_for(api: httpx.Client) -> None:
    found = components(api.get("/readyz"))
    assert {name: found[name]["state"] for name in ("database", "disk", "mlflow", "predictor")} == {
        "database": "up",
        "disk": "up",
        "mlflow": "unused",
        "predictor": "unused",
    }


def test_everything_that_is_down_is_named_while_jobs_are_taken_in(
    api: httpx.Client, app: FastAPI, settings: ServiceSettings, jobs: JobQueue
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "mlflow.test":
            raise httpx.ConnectError("refused")
        return httpx.Response(500)

    urls = {"mlflow_tracking_uri": "http://mlflow.test", "predictor_url": "http://predictor.test"}
    app.state.readiness = Readiness(settings.model_copy(update=urls), jobs, transport=httpx.MockTransport(answer))
    found = components(api.get("/readyz"))
    assert (found["mlflow"]["state"], found["predictor"]["state"]) == ("down", "down")
    assert "ConnectError" in str(found["mlflow"]["detail"])
    assert "status 500" in str(found["predictor"]["detail"])
    assert api.post("/v1/jobs", json={"preset": "tiny"}).status_code == 202


def test_a_store_of_checkpoints_is_asked_and_jobs_are_taken_in_while_it_is_down(
    api: httpx.Client,
    app: FastAPI,
    settings: ServiceSettings,
    jobs: JobQueue,
    bucket_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert components(api.get("/readyz"))["checkpoints"]["state"] == "unused"
    with_store = settings.model_copy(update={"checkpoints_url": bucket_url})
    with_store.checkpoint_storage.ask()  # the first question loads the store's client, which takes its time
    app.state.readiness = Readiness(with_store, jobs)
    assert components(api.get("/readyz"))["checkpoints"]["state"] == "up"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("s3fs.S3FileSystem.cachable", False)  # its clients keep the address that they began with
    assert components(api.get("/readyz"))["checkpoints"]["state"] == "down"
    assert api.post("/v1/jobs", json={"preset": "tiny"}).status_code == 202


def test_workers_and_their_ray_are_as_their_heartbeats_tell(api: httpx.Client, jobs: JobQueue) -> None:
    found = components(api.get("/readyz"))
    assert (found["workers"]["state"], found["ray"]["state"]) == ("down", "unused")
    jobs.announce("a", None, ttl_s=60)
    found = components(api.get("/readyz"))
    assert (found["workers"]["state"], found["ray"]["state"]) == ("up", "down")
    assert "cluster: a" in str(found["ray"]["detail"])
    jobs.announce("a", Capacity.of_machine(2, 0), ttl_s=60)
    found = components(api.get("/readyz"))
    assert (found["workers"]["state"], found["ray"]["state"]) == ("up", "up")
    jobs.announce("a", None, ttl_s=-1)
    assert components(api.get("/readyz"))["workers"]["state"] == "down"


def test_what_does_not_answer_is_given_up_in_time(
    api: httpx.Client, app: FastAPI, settings: ServiceSettings, jobs: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "LIMIT_S", 0.2)
    answered = threading.Event()

    async def never(_request: httpx.Request) -> httpx.Response:
        await anyio.sleep_forever()
        raise AssertionError

    def hang() -> QueueHealth:
        answered.wait(30)
        raise AssertionError

    monkeypatch.setattr(jobs, "health", hang)
    app.state.readiness = Readiness(
        settings.model_copy(update={"mlflow_tracking_uri": "http://mlflow.test"}),
        jobs,
        transport=httpx.MockTransport(never),
    )
    began = time.monotonic()
    answer = api.get("/readyz")
    assert time.monotonic() - began < 5
    answered.set()
    assert answer.status_code == 503
    down = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert down.items() >= {"database": "no answer within 0.2 s", "mlflow": "no answer within 0.2 s"}.items()


def test_a_full_disk_takes_no_jobs_in(
    app: FastAPI, api: httpx.Client, settings: ServiceSettings, jobs: JobQueue
) -> None:
    app.state.readiness = Readiness(settings.model_copy(update={"min_free_bytes": 2**60}), jobs)
    answer = api.get("/readyz")
    assert answer.status_code == 503
    assert "disk" in [error["field"] for error in answer.json()["errors"]]
    assert "SDCN_MIN_FREE_BYTES" in answer.json()["detail"]


def test_building_the_application_touches_nothing() -> None:
    app = create_app(ServiceSettings(database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none")))
    assert app.state.queue is not None
