import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.workers.conftest import wait_until


def start(home: Path, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "workers"],
        env={**os.environ, "SDCN_HOME": str(home), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_worker_starts_on_an_empty_home_and_leaves_when_asked(tmp_path: Path) -> None:
    worker = start(tmp_path / "home")
    wait_until((tmp_path / "home" / "queue.db").exists)
    assert worker.stderr is not None
    for line in worker.stderr:
        if "worker.started" in line:
            worker.send_signal(signal.SIGTERM)
    worker.stderr.close()
    assert worker.wait(timeout=20) == 0
    assert "worker.stopped" in line


def test_a_setting_that_cannot_be_is_named(tmp_path: Path) -> None:
    worker = start(tmp_path, SDCN_LEASE_S="-1")
    _, told = worker.communicate(timeout=20)
    assert worker.returncode == 2
    assert "SDCN_LEASE_S" in told
    assert "Traceback" not in told


def test_a_database_that_cannot_be_used_is_told_without_a_traceback(tmp_path: Path) -> None:
    worker = start(tmp_path, SDCN_DATABASE_URL="mysql://nowhere/queue")
    _, told = worker.communicate(timeout=20)
    assert worker.returncode == 1
    assert "mysql is not supported" in told
    assert "Traceback" not in told


def test_neither_ray_nor_mlflow_is_loaded_to_supervise() -> None:
    script = "import sys, workers.__main__; print([name for name in ('ray', 'mlflow', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
