"""The preset `tiny` through the worker, for real: queue, child process, Ray Train, trainer, MLflow on SQLite."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from mlflow.tracking import MlflowClient

from service.jobs.results import TrainResults
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason, JobState
from service.queue.database import open_database
from service.queue.migrations import upgrade
from service.queue.records import Job
from service.queue.repository import JobQueue
from service.queue.retry import RetryPolicy
from service.run_files.checkpoints import kept_checkpoints
from tests.workers.conftest import wait_until
from workers.attempt_folder import AttemptFolder, RunFolder
from workers.processes import MARK, SessionRecord, members
from workers.settings import WorkerSettings
from workers.supervisor import Supervisor
from workers.tracking.mlflow_log import MlflowLog

pytestmark = pytest.mark.integration

MANY_STEPS = {
    "schedule.loop_steps": 40,
    "schedule.report_every_steps": 1,
    "schedule.checkpoint_every_steps": 5,
    "evaluation.baselines": False,
}
"""of a run that is disturbed, so that it is not over before it is"""


class Service:
    """A queue, a worker and MLflow in a folder of their own."""

    def __init__(self, home: Path, *, checkpoints_url: str | None = None) -> None:
        self.settings = WorkerSettings(
            home=home,
            checkpoints_url=checkpoints_url,
            heartbeat_interval_s=0.5,
            mlflow_tracking_uri=f"sqlite:///{home / 'mlflow.db'}",
        )
        upgrade(self.settings.queue_url)
        self.engine = open_database(self.settings.queue_url)
        self.queue = JobQueue(self.engine, retry=RetryPolicy(base_s=0))
        uri = self.settings.mlflow_tracking_uri
        assert uri is not None
        self.mlflow = MlflowClient(tracking_uri=uri)
        self.log = MlflowLog(
            self.queue, runs=self.settings.runs, tracking_uri=uri, experiment="sdcn", artifacts=home / "mlartifacts"
        )
        self.supervisor = Supervisor(
            self.settings, self.queue, self.log, worker_id="worker-a", pid=os.getpid(), drain=threading.Event()
        )

    def submit(self, **fields: object) -> Job:
        # without ONNX: the whole service's tests export what they train
        spec = TrainSpec.model_validate({"preset": "tiny", "export": False, **fields}).resolve()
        return self.queue.enqueue(spec, idempotency_key=None, body_digest="")[0]

    def work_off(self, job: Job) -> Job:
        """Run attempts until the job has ended; the child's log is shown when the test fails."""
        while not (job := self.queue.get(job.job_id)).state.is_terminal:
            self.supervisor.run_once()
        for folder in RunFolder(self.settings.home, job.job_id).attempts():
            sys.stdout.write(folder.log.read_text()[-20_000:])
        return job

    def when_training(self, job: Job, act: Callable[[AttemptFolder], None]) -> threading.Thread:
        """Do something once, when the loop's first checkpoint is behind the run."""

        def watch() -> None:
            def in_the_loop() -> bool:
                progress = self.queue.get(job.job_id).progress
                return progress is not None and progress.stage == "loop" and progress.step > 6

            wait_until(in_the_loop, timeout_s=240)
            act(RunFolder(self.settings.home, job.job_id).attempt(1))

        thread = threading.Thread(target=watch)
        thread.start()
        return thread

    def close(self) -> None:
        self.log.close(timeout_s=30)
        self.engine.dispose()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "home")
    yield service
    service.close()


@pytest.fixture
def service_with_store(tmp_path: Path, bucket_url: str) -> Iterator[Service]:
    service = Service(tmp_path / "home", checkpoints_url=bucket_url)
    yield service
    service.close()


def left_of(job: Job) -> list[str]:
    """Command lines of processes that any attempt of the job left running."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK, "")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if mark.startswith(f"{job.job_id}/") and process.status() != psutil.STATUS_ZOMBIE:
            found.append(" ".join(process.cmdline()))
    return found


def assert_recorded(service: Service, job: Job) -> None:
    """MLflow has the numbers and the files of the results, and says that the run is over."""
    run_id = job.tracking_run_id
    assert run_id is not None
    wait_until(lambda: service.mlflow.get_run(run_id).info.status == "FINISHED")
    metrics = service.mlflow.get_run(run_id).data.metrics
    results = TrainResults.model_validate(job.results)
    assert metrics["eval/mean_ap"] == pytest.approx(results.trained.mean_ap)
    assert metrics["eval/mean_corloc"] == pytest.approx(results.trained.mean_corloc)
    for name, ap in results.trained.ap.items():
        assert ap is None or metrics[f"eval/ap/{name}"] == pytest.approx(ap)
    kept = {file.path for file in service.mlflow.list_artifacts(run_id)}
    assert {"config.json", "detections.png", "results.json", "results.csv"} <= kept


def test_a_child_killed_midway_goes_on_from_its_checkpoint_and_is_judged_and_recorded(service: Service) -> None:
    job = service.submit(overrides=MANY_STEPS)
    pids = []

    def kill(folder: AttemptFolder) -> None:
        session = folder.read_session()
        assert session is not None
        pids.append(session)
        os.kill(session.session_id, signal.SIGKILL)

    killer = service.when_training(job, kill)
    ended = service.work_off(job)
    killer.join()
    assert ended.state is JobState.SUCCEEDED, ended.failure
    first, second = ended.attempts
    assert first.exit_reason is FailureReason.CRASHED
    assert second.resumed_from_step is not None
    assert second.resumed_from_step > 0
    assert members(pids[0]) == []
    assert left_of(ended) == []
    assert (ended.progress and ended.progress.fraction) == 1
    assert_recorded(service, ended)
    history = service.mlflow.get_metric_history(ended.tracking_run_id or "", "rate/network")
    steps = [point.step for point in history]
    assert steps == sorted(set(steps)), "steps that were trained twice are recorded once"


def test_a_rank_killed_midway_costs_an_attempt_and_no_more_with_checkpoints_in_a_store(
    service_with_store: Service,
) -> None:
    service = service_with_store
    job = service.submit(resources={"num_workers": 2}, overrides=MANY_STEPS)

    def kill(folder: AttemptFolder) -> None:
        session = folder.read_session()
        assert session is not None
        os.kill(_training_processes(session)[-1].pid, signal.SIGKILL)

    killer = service.when_training(job, kill)
    ended = service.work_off(job)
    killer.join()
    assert ended.state is JobState.SUCCEEDED, ended.failure
    first, second = ended.attempts
    assert first.message == "a training process ended unexpectedly: it was killed, or it crashed"
    assert second.resumed_from_step is not None
    assert second.resumed_from_step > 0
    assert left_of(job) == []
    run = RunFolder(service.settings.home, job.job_id).path
    assert kept_checkpoints(service.settings.checkpoint_storage.of(run))
    assert not kept_checkpoints(run)


def test_a_worker_killed_midway_is_followed_by_another_that_cleans_up_and_goes_on(service: Service) -> None:
    job = service.submit(overrides=MANY_STEPS)
    first = start_worker(service)
    sessions = []

    def kill(folder: AttemptFolder) -> None:
        session = folder.read_session()
        assert session is not None
        sessions.append(session)
        first.kill()
        first.wait()

    service.when_training(job, kill).join()
    second = start_worker(service)
    try:
        wait_until(lambda: service.queue.get(job.job_id).state.is_terminal, timeout_s=240)
        ended = service.queue.get(job.job_id)
        assert ended.state is JobState.SUCCEEDED, ended.failure
        assert ended.attempts[0].message is not None
        assert "stopped renewing its lease" in ended.attempts[0].message
        assert ended.attempts[1].resumed_from_step is not None
        assert members(sessions[0]) == []
        assert left_of(job) == []
    finally:
        second.terminate()
        assert second.wait(timeout=60) == 0


def test_a_missing_data_set_fails_with_a_sentence_and_starts_no_cluster(service: Service) -> None:
    job = service.submit(overrides={"data.source": {"kind": "voc", "path": "not/there"}})
    ended = service.work_off(job)
    assert ended.state is JobState.FAILED
    assert ended.failure is not None
    assert ended.failure.reason is FailureReason.BAD_INPUT
    assert "not/there" in ended.failure.message
    assert "Traceback" not in ended.failure.message
    assert not RunFolder(service.settings.home, job.job_id).attempt(1).ray_job.exists()


def test_a_job_larger_than_the_machine_is_refused_not_awaited(service: Service) -> None:
    ended = service.work_off(service.submit(resources={"cpus_per_worker": 250}))
    assert ended.state is JobState.FAILED
    assert ended.failure is not None
    assert "do not fit into the cluster" in ended.failure.message


def start_worker(service: Service) -> "subprocess.Popen[bytes]":
    """A worker as a process of its own, with a lease that runs out soon."""
    environment = {"SDCN_HOME": str(service.settings.home), "SDCN_LEASE_S": "5", "SDCN_HEARTBEAT_INTERVAL_S": "1"}
    return subprocess.Popen([sys.executable, "-m", "workers"], env={**os.environ, **environment})


def _training_processes(session: SessionRecord) -> list[psutil.Process]:
    return [process for process in members(session) if "RayTrainWorker" in " ".join(process.cmdline())]
