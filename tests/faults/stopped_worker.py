"""A worker as a process of its own, on what it takes for another machine, whose child is a script: it can be stopped.

`python -m tests.faults.stopped_worker <home> <MLflow, or nothing> <script>`, with the database's URL in
SDCN_DATABASE_URL. It runs one attempt and ends.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service.queue.database import open_database
from service.queue.repository import JobQueue
from tests.workers.conftest import scripted_worker
from workers.settings import WorkerSettings
from workers.tracking.experiment_log import ExperimentLog, NullLog
from workers.tracking.mlflow_log import MlflowLog

LEASE_S = 3.0
ELSEWHERE = "another-machine"


def settings_of(home: Path, tracking_uri: str | None = None) -> WorkerSettings:
    return WorkerSettings(
        home=home,
        heartbeat_interval_s=0.2,
        lease_s=LEASE_S,
        progress_interval_s=0,
        mlflow_tracking_uri=tracking_uri,
        tracking_flush_timeout_s=60,
    )


def log_of(queue: JobQueue, settings: WorkerSettings) -> ExperimentLog:
    """MLflow where there is one."""
    uri = settings.mlflow_tracking_uri
    if uri is None:
        return NullLog()
    artifacts = settings.home / "mlartifacts"
    return MlflowLog(queue, runs=settings.runs, tracking_uri=uri, experiment="sdcn", artifacts=artifacts)


@contextmanager
def worker_elsewhere(
    home: Path, database_url: str, script: str, tracking_uri: str = ""
) -> Iterator["subprocess.Popen[str]"]:
    """The process, which has nothing left running in the end."""
    command = [sys.executable, "-m", "tests.faults.stopped_worker", str(home), tracking_uri, script]
    environment = {**os.environ, "SDCN_DATABASE_URL": database_url}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as worker:
        try:
            yield worker
        finally:
            worker.kill()
            for pid in home.glob("runs/*/attempt-*/pid"):
                with suppress(ProcessLookupError):
                    os.kill(int(pid.read_text()), signal.SIGKILL)


def main(home: str, tracking_uri: str, script: str) -> None:
    socket.gethostname = lambda: ELSEWHERE
    settings = settings_of(Path(home), tracking_uri or None)
    queue = JobQueue(open_database(settings.queue_url))
    log = log_of(queue, settings)
    scripted_worker(queue, settings, script, experiment_log=log).run_once()
    log.close(timeout_s=60)


if __name__ == "__main__":
    main(*sys.argv[1:])
