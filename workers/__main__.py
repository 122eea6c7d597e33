"""`python -m workers`: one worker, which runs jobs one after another until it is asked to stop.

SIGTERM and SIGINT drain it: the running attempt is asked to stop at its next checkpoint, the job goes back to the
queue, and the worker leaves. Exit status: 0 drained; 1 it could not start, or failed in a way that nobody foresaw;
2 settings.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from types import FrameType

import structlog

from service.errors import ServiceError
from service.logging import set_up_logging
from service.queue.database import open_database
from service.queue.migrations import upgrade
from service.queue.repository import JobQueue
from service.settings import read_settings
from workers.gpus import GpuWatch
from workers.leftovers import Leftovers
from workers.meter import WorkerMeter
from workers.presence import WorkerPresence, capacity_of
from workers.reconciler import Reconciler, Step
from workers.settings import WorkerSettings
from workers.supervisor import Supervisor
from workers.tracking.experiment_log import ExperimentLog, NullLog
from workers.tracking.mlflow_log import MlflowLog

log = structlog.get_logger()


def main() -> int:
    """Run a worker; the exit status."""
    set_up_logging()
    settings = read_settings(WorkerSettings)
    if settings is None:
        return 2
    drain = threading.Event()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        drain.set()  # nothing is logged here: the signal may have come while a line was being written

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)

    try:
        settings.runs.mkdir(parents=True, exist_ok=True)
        upgrade(settings.queue_url)
        engine = open_database(settings.queue_url)
    except (ServiceError, OSError) as error:
        log.error("worker.not_started", reason=str(error))
        return 1
    queue = JobQueue(engine, deadlines=settings.deadlines)
    experiment_log = _experiment_log(settings, queue)
    worker_id = f"{socket.gethostname()}:{os.getpid()}"
    steps = _steps(settings, queue, experiment_log)
    log.info("worker.started", worker_id=worker_id, home=str(settings.home), tracking=settings.mlflow_tracking_uri)
    gpus = GpuWatch()
    meter = WorkerMeter(settings.home, gpus=lambda: gpus.latest)
    gpus.start()
    try:
        with (
            WorkerPresence(
                queue,
                worker_id,
                interval_s=settings.heartbeat_interval_s,
                capacity_interval_s=settings.capacity_interval_s,
                capacity=lambda: capacity_of(settings.ray_order),
                meter=meter,
            ),
            Reconciler(queue, worker_id, interval_s=settings.reconcile_interval_s, steps=steps),
        ):
            Supervisor(
                settings, queue, experiment_log, worker_id=worker_id, pid=os.getpid(), drain=drain, meter=meter
            ).run()
    finally:
        gpus.stop()
        experiment_log.close(timeout_s=settings.tracking_flush_timeout_s)
        engine.dispose()
    log.info("worker.stopped", worker_id=worker_id)
    return 0


def _steps(settings: WorkerSettings, queue: JobQueue, experiment_log: ExperimentLog) -> Sequence[Step]:
    """What the reconciler does beside what the queue needs."""
    retention_s = settings.checkpoint_retention_s
    left = Leftovers(queue, experiment_log, settings.checkpoint_storage, checkpoint_retention_s=retention_s)
    every_s = settings.leftovers_interval_s
    return (
        Step("deletions", left.remove_deleted),
        Step("clusters", left.free_clusters, every_s),
        Step("tracking", experiment_log.close_left_open, every_s),
        Step("checkpoints", left.thin_checkpoints, every_s),
    )


def _experiment_log(settings: WorkerSettings, queue: JobQueue) -> ExperimentLog:
    if settings.mlflow_tracking_uri is None:
        return NullLog()
    return MlflowLog(
        queue,
        runs=settings.runs,
        tracking_uri=settings.mlflow_tracking_uri,
        experiment=settings.mlflow_experiment,
        artifacts=settings.home / "mlartifacts",
    )


if __name__ == "__main__":
    sys.exit(main())
