"""An MLflow that is away for a whole job: the job succeeds, and all that it said is delivered later."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.app import create_app
from service.jobs.specs import TrainSpec
from service.jobs.states import JobState
from service.queue.database import open_database
from service.queue.migrations import upgrade
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from tests.service.server import listening
from tests.workers.conftest import scripted_worker, wait_until
from workers.settings import WorkerSettings

pytest.importorskip("mlflow")
import httpx
from mlflow.tracking import MlflowClient

from workers.tracking.mlflow_log import MlflowLog

CHILD = """
say(kind="progress", stage="loop", step=1, stage_steps=2, fraction=0.5, global_step=1)
for step in (1, 2, 3):
    say(kind="metrics", global_step=step, values={"loss/mil": 1 / step})
end(status="succeeded", results={})
"""


@pytest.fixture
def dead_url() -> str:
    """Nobody listens there."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[JobQueue]:
    url = f"sqlite:///{tmp_path / 'queue.db'}"
    upgrade(url)
    engine = open_database(url)
    yield JobQueue(engine)
    engine.dispose()


def test_a_job_succeeds_without_mlflow_and_all_it_said_is_delivered_when_mlflow_is_back(
    tmp_path: Path, queue: JobQueue, dead_url: str
) -> None:
    settings = WorkerSettings(
        home=tmp_path, progress_interval_s=0, mlflow_tracking_uri=dead_url, tracking_flush_timeout_s=0.5
    )
    job, _ = queue.enqueue(TrainSpec(preset="tiny").resolve(), idempotency_key=None, body_digest="")
    log = tracking(queue, settings, dead_url)
    scripted_worker(queue, settings, CHILD, experiment_log=log).run_once()
    log.close(timeout_s=30)
    ended = queue.get(job.job_id)
    assert (ended.state, ended.attempt, ended.tracking_run_id) == (JobState.SUCCEEDED, 1, None)

    alive = f"sqlite:///{tmp_path / 'mlflow.db'}"
    log = tracking(queue, settings, alive)  # of the worker that comes next, and finds what was left
    wait_until(lambda: queue.get(job.job_id).tracking_run_id is not None, timeout_s=60)
    client = MlflowClient(tracking_uri=alive)
    run_id = str(queue.get(job.job_id).tracking_run_id)
    wait_until(lambda: client.get_run(run_id).info.status == "FINISHED", timeout_s=60)
    log.close(timeout_s=30)
    points = client.get_metric_history(run_id, "loss/mil")
    assert [(point.step, point.value) for point in points] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert client.get_run(run_id).data.tags["sdcn.job_id"] == job.job_id


def tracking(queue: JobQueue, settings: WorkerSettings, uri: str) -> MlflowLog:
    return MlflowLog(
        queue, runs=settings.runs, tracking_uri=uri, experiment="sdcn", artifacts=settings.home / "mlartifacts"
    )


def test_jobs_are_taken_in_over_http_while_mlflow_ray_and_the_predictor_are_down(tmp_path: Path, dead_url: str) -> None:
    settings = ServiceSettings(home=tmp_path, mlflow_tracking_uri=dead_url, predictor_url=dead_url)
    with listening(create_app(settings)) as url, httpx.Client(base_url=url, trust_env=False) as api:
        taken = api.post("/v1/jobs", json={"preset": "tiny"})
        assert taken.status_code == 202
        ready = api.get("/readyz")
        assert ready.status_code == 200
        states = {found["name"]: found["state"] for found in ready.json()["components"]}
        assert {name for name, state in states.items() if state == "down"} >= {"mlflow", "predictor"}
        assert (states["database"], states["disk"]) == ("up", "up")
