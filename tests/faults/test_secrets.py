"""Passwords and tokens are in no log: API, worker and attempt run with them, through errors that are about them."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from service.embedded.components import answers_http
from service.embedded.ports import free_ports
from service.queue.database import open_database
from tests.service.tcp_proxy import proxied
from tests.workers.conftest import wait_until

SECRET = "geheim-und-lang"
SECRETS = {
    "SDCN_PREDICTOR_TOKEN": f"predictor-{SECRET}",
    "SDCN_MLFLOW_TRACKING_URI": f"http://tracker:{SECRET}@127.0.0.1:9",
    "SDCN_PREDICTOR_URL": f"http://predictor:{SECRET}@127.0.0.1:9",
    "MLFLOW_TRACKING_USERNAME": "tracker",
    "MLFLOW_TRACKING_PASSWORD": f"tracking-{SECRET}",
    "MLFLOW_TRACKING_TOKEN": f"token-{SECRET}",
    "RAY_AUTH_TOKEN": f"ray-{SECRET}-of-at-least-thirty-two-characters",
}


@contextmanager
def process(module: str, log: Path, environment: dict[str, str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of the service, asked to end at the end."""
    with (
        log.open("wb") as file,
        subprocess.Popen([sys.executable, "-m", module], env=environment, stdout=file, stderr=file) as running,
    ):
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(timeout=180)


def logs_in(folder: Path) -> dict[Path, str]:
    """Every file that the service has left, which its logs are among."""
    return {path: path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()}


def test_no_log_of_any_process_shows_a_secret(tmp_path: Path, postgres_url: str) -> None:
    engine = open_database(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE job, dataset CASCADE"))
    engine.dispose()
    (port,) = free_ports([0])
    home = tmp_path / "home"
    with ExitStack() as stack:
        proxy, url = stack.enter_context(proxied(postgres_url, password=SECRET))
        environment = {
            **os.environ,
            **SECRETS,
            "SDCN_HOME": str(home),
            "SDCN_DATABASE_URL": url,
            "SDCN_API_PORT": str(port),
            "SDCN_HEARTBEAT_INTERVAL_S": "0.2",
            "SDCN_TRACKING_FLUSH_TIMEOUT_S": "1",
        }
        api_log, worker_log = tmp_path / "api.log", tmp_path / "worker.log"
        stack.enter_context(process("service", api_log, environment))
        wait_until(lambda: answers_http(f"http://127.0.0.1:{port}/healthz"), timeout_s=180)
        stack.enter_context(process("workers", worker_log, environment))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=180) as client:
            source = {"kind": "voc", "path": "nowhere"}
            client.post("/v1/datasets", json={"name": "animals", "source": source}).raise_for_status()

            def state() -> str:
                return str(client.get("/v1/datasets/animals").json()["state"])

            wait_until(lambda: state() == "refused", timeout_s=240)
            client.get("/readyz")
            client.get("/v1/models")
            proxy.cut()
            assert client.get("/v1/jobs").status_code == 503
            wait_until(lambda: "worker.queue_unreachable" in worker_log.read_text(), timeout_s=180)
            proxy.restore()
    found = logs_in(tmp_path)
    said = "".join(found.values())
    for event in ("worker.started", "job.claimed", "tracking.not_delivered", "request.failed", "job.settled"):
        assert event in said, f"{event} was to be provoked"
    assert any(path.name == "log.txt" for path in found)
    assert [str(path) for path, content in found.items() if SECRET in content] == []


@pytest.mark.parametrize("module", ["service", "service.migrate", "workers"])
def test_a_process_that_cannot_start_shows_no_secret(tmp_path: Path, module: str) -> None:
    environment = {
        **os.environ,
        **SECRETS,
        "SDCN_HOME": str(tmp_path),
        "SDCN_DATABASE_URL": f"postgresql://sdcn:{SECRET}@127.0.0.1:1/queue",
    }
    done = subprocess.run(
        [sys.executable, "-m", module], env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode != 0
    assert "127.0.0.1" in done.stderr
    assert SECRET not in done.stdout + done.stderr
