import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import httpx
import psutil
import pytest

from service.embedded.ports import free_ports

LIBRARIES = ("alembic.command", "fastapi", "httpx", "jinja2", "pydantic_settings", "sqlalchemy", "structlog", "uvicorn")
HEAVY = ("torch", "ray", "numpy", "mlflow", "cv2", "scipy")


@pytest.mark.parametrize(
    "module", ["service.__main__", "service.client.cli", "service.client.demo", "service.embedded.guard"]
)
def test_processes_of_the_service_import_nothing_heavy(module: str) -> None:
    code = f"import json, sys, {module}; print(json.dumps(list(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    assert module in loaded
    assert [name for name in HEAVY if name in loaded] == []


def test_the_client_needs_no_database_and_no_server() -> None:
    code = "import json, sys, service.client; print(json.dumps(list(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    assert [name for name in ("sqlalchemy", "fastapi", "uvicorn", "psutil") if name in loaded] == []


def test_the_api_answers_soon_after_its_libraries_are_loaded_and_stops_when_asked(tmp_path: Path) -> None:
    """Counted in processor time and beside that of the libraries alone, as other tests may keep the processors busy."""
    of_libraries = _seconds_to_load(LIBRARIES)
    (port,) = free_ports([0])
    environment = {**os.environ, "SDCN_HOME": str(tmp_path), "SDCN_API_PORT": str(port)}
    with subprocess.Popen([sys.executable, "-m", "service"], env=environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        try:
            wait_until_it_answers(f"http://127.0.0.1:{port}/healthz")
            used = psutil.Process(process.pid).cpu_times()
            assert used.user + used.system < 3.0 * of_libraries
        finally:
            process.send_signal(signal.SIGTERM)
        lines = process.stderr.read().decode().splitlines()
    assert process.returncode == -signal.SIGTERM
    assert all(json.loads(line)["event"] for line in lines)
    assert (tmp_path / "queue.db").exists()


def test_wrong_settings_are_named_by_their_variable(tmp_path: Path) -> None:
    environment = {**os.environ, "SDCN_HOME": str(tmp_path), "SDCN_API_PORT": "many"}
    ended = subprocess.run(
        [sys.executable, "-m", "service"], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "SDCN_API_PORT" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("command", ["service", "service.migrate", "service.keys list", "workers", "workers.predictor"])
def test_a_file_of_secrets_that_is_no_text_is_named_by_every_process(command: str, tmp_path: Path) -> None:
    (tmp_path / "sdcn_predictor_token").write_bytes(b"\xff")
    environment = {**os.environ, "SDCN_HOME": str(tmp_path), "SDCN_SECRETS": str(tmp_path)}
    process = [sys.executable, "-m", *command.split()]
    ended = subprocess.run(process, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert re.search("predictor_token.*can't decode byte", json.loads(ended.stderr)["reason"])


def test_a_list_that_is_no_json_is_named_by_its_setting_and_not_quoted(tmp_path: Path) -> None:
    environment = {**os.environ, "SDCN_HOME": str(tmp_path), "SDCN_ALLOWED_HOSTS": "one.example"}
    ended = subprocess.run(
        [sys.executable, "-m", "service"], env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "allowed_hosts" in json.loads(ended.stderr)["reason"]
    assert "one.example" not in ended.stderr


def _seconds_to_load(modules: Iterable[str]) -> float:
    before = os.times()
    subprocess.run([sys.executable, "-c", f"import {', '.join(modules)}"], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def wait_until_it_answers(url: str) -> None:
    deadline = time.monotonic() + 120  # what is measured is processor time; the machine may be busy
    while True:
        try:
            assert httpx.get(url, trust_env=False).status_code == 200
        except httpx.TransportError:
            assert time.monotonic() < deadline, f"{url} does not answer"
            time.sleep(0.02)
        else:
            return
