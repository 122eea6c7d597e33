"""An ablation of the preset `tiny` through the worker, for real: queue, child process, Ray tasks, trainer."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from service.jobs.specs import AblationSpec
from service.jobs.states import FailureReason, JobState
from service.jobs.study_results import AblationResults, RunState
from service.queue.database import open_database
from service.queue.migrations import upgrade
from service.queue.records import Job
from service.queue.repository import JobQueue
from service.queue.retry import RetryPolicy
from tests.workers.conftest import wait_until
from workers.attempt_folder import RunFolder
from workers.processes import MARK
from workers.settings import WorkerSettings
from workers.spool import ProgressEvent, ResumedEvent, SpoolReader
from workers.study.run_folder import StudyRunFolder
from workers.supervisor import Supervisor
from workers.tracking.experiment_log import NullLog

pytestmark = pytest.mark.integration

TWO_ROWS = {"preset": "tiny", "study": "oicr-against-sdcn"}
DISTURBED = {"schedule.loop_steps": 240, "schedule.report_every_steps": 1, "schedule.checkpoint_every_steps": 5}
"""of runs that are disturbed: so long that another is started, trained and judged before they are over, also on a busy
machine, where one process may start long after the other"""
ENDLESS = {**DISTURBED, "schedule.loop_steps": 4000}
"""of runs that nobody waits for"""
HOT = {
    "schedule.optimizer": "sgd",
    "schedule.learning_rate": 10,
    "schedule.clip_norm": None,
    "schedule.warmup_steps": 0,
    "objective.lambda_mil": 1000,
}
"""what no training survives"""


class Service:
    """A queue and a worker in a folder of their own."""

    def __init__(self, home: Path) -> None:
        self.settings = WorkerSettings(home=home, heartbeat_interval_s=0.5, ray_num_cpus=2)
        upgrade(self.settings.queue_url)
        self.engine = open_database(self.settings.queue_url)
        self.queue = JobQueue(self.engine, retry=RetryPolicy(base_s=0))
        self.supervisor = Supervisor(
            self.settings, self.queue, NullLog(), worker_id="worker-a", pid=os.getpid(), drain=threading.Event()
        )

    def submit(self, **fields: Any) -> Job:
        spec = AblationSpec.model_validate({**TWO_ROWS, **fields}).resolve()
        return self.queue.enqueue(spec, idempotency_key=None, body_digest="")[0]

    def work_off(self, job: Job) -> Job:
        """Run attempts until the job has ended; the child's log is shown when the test fails."""
        while not (job := self.queue.get(job.job_id)).state.is_terminal:
            self.supervisor.run_once()
        for folder in self.folder(job).attempts():
            sys.stdout.write(folder.log.read_text()[-20_000:])
        return job

    def folder(self, job: Job) -> RunFolder:
        return RunFolder(self.settings.home, job.job_id)

    def run(self, job: Job, name: str) -> StudyRunFolder:
        return StudyRunFolder.of(self.folder(job), name)

    def when_one_has_ended_and_another_is_midway(
        self, job: Job, act: Callable[[], None], *, ended: str, midway: str
    ) -> threading.Thread:
        """Do something once, when one run is over and another has trained past its first checkpoint of the loop."""

        def is_midway() -> bool:
            reader = SpoolReader(self.run(job, midway).path / "attempt-1" / "events.jsonl")
            told = [event for event in reader.read() if isinstance(event, ProgressEvent) and event.stage == "loop"]
            return self.run(job, ended).found.exists() and any(event.step >= 6 for event in told)

        def watch() -> None:
            wait_until(is_midway, timeout_s=240)
            act()

        thread = threading.Thread(target=watch)
        thread.start()
        return thread


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "home")
    yield service
    service.engine.dispose()


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


def results_of(job: Job) -> AblationResults:
    assert job.state is JobState.SUCCEEDED, job.failure
    return AblationResults.model_validate(job.results)


def numbers(results: AblationResults) -> dict[str, object]:
    """What was found, without what the clock decides."""
    return {
        run.name: run.judgement.model_dump(exclude={"seconds_per_image"}) if run.judgement else None
        for run in results.runs
    }


def test_a_study_whose_child_is_killed_is_ended_by_the_next_attempt(service: Service) -> None:
    disturbed = [
        {"name": "short", "overrides": {"schedule.loop_steps": 4}},
        {"name": "long", "overrides": DISTURBED},
    ]
    job = service.submit(study=None, variants=disturbed, seeds=[0, 1])

    trained: list[str] = []

    def kill() -> None:
        session = service.folder(job).attempt(1).read_session()
        assert session is not None
        trained.extend(path.stem for path in (service.folder(job).path / "stages").glob("*.pt"))
        os.kill(session.session_id, signal.SIGKILL)

    killer = service.when_one_has_ended_and_another_is_midway(job, kill, ended="short-seed0", midway="long-seed0")
    ended = service.work_off(job)
    killer.join()
    results = results_of(ended)
    assert [attempt.exit_reason for attempt in ended.attempts] == [FailureReason.CRASHED, None]
    assert [run.name for run in results.runs] == ["short-seed0", "long-seed0", "short-seed1", "long-seed1"]
    assert {run.state for run in results.runs} == {RunState.SUCCEEDED}
    assert not (service.run(job, "short-seed0").path / "attempt-2").exists()
    second = SpoolReader(service.run(job, "long-seed0").path / "attempt-2" / "events.jsonl").read()
    assert any(isinstance(event, ResumedEvent) for event in second)
    stages = list((service.folder(job).path / "runs").glob(".shared-*"))
    before = [stage for stage in stages if any(key.startswith(stage.name.rpartition("-")[2]) for key in trained)]
    assert before, "the run that had ended used one"  # the other seed's may have been midway
    for stage in before:
        assert not (stage / "attempt-2").exists(), "a stage that was trained is not trained again"
    assert left_of(job) == []

    undisturbed = results_of(service.work_off(service.submit(study=None, variants=disturbed, share_stages=False)))
    of_seed_0 = {f"{name}-seed0": found for name, found in numbers(undisturbed).items()}
    assert of_seed_0.items() <= numbers(results).items(), "sharing and resuming change no number"
    assert undisturbed.shared == ()
    assert len(results.shared) == 2
    assert not (service.folder(job).path / "stages").exists(), "nobody needs them any more"


def test_a_variant_that_fails_loses_no_other(service: Service) -> None:
    variants = [
        {"name": "big-only", "overrides": {"data.proposals.min_side_px": 5000}},  # the first user of a shared stage
        {"name": "cold"},
        {"name": "hot", "overrides": {**HOT, "schedule.apart_steps": 20}},
        {"name": "nowhere", "overrides": {"data.source": {"kind": "voc", "path": "not/there"}}},
    ]
    job = service.work_off(service.submit(study=None, variants=variants))
    by_name = {run.name: run for run in results_of(job).runs}
    assert by_name["cold"].state is RunState.SUCCEEDED
    hot, nowhere = by_name["hot"].failure, by_name["nowhere"].failure
    assert hot is not None
    assert hot.reason is FailureReason.DIVERGED
    assert nowhere is not None
    assert nowhere.reason is FailureReason.BAD_INPUT
    assert "not/there" in nowhere.message
    big_only = by_name["big-only"].failure
    assert big_only is not None
    assert big_only.reason is FailureReason.BAD_INPUT
    artifacts = {path.name for path in service.folder(job).artifacts.iterdir()}
    assert {"table.json", "table.md", "table.tex", "table.csv"} <= artifacts


def test_a_study_in_which_every_run_fails_has_failed_for_the_first_ones_reason(service: Service) -> None:
    job = service.work_off(service.submit(overrides={"data.source": {"kind": "voc", "path": "not/there"}}))
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.reason is FailureReason.BAD_INPUT
    assert "none of the 2 runs succeeded; oicr: " in job.failure.message
    assert not service.folder(job).attempt(1).ray_job.exists(), "no cluster is started for nothing"


def test_a_cancelled_study_keeps_what_is_finished_and_leaves_nothing_running(service: Service) -> None:
    variants = [
        {"name": "short", "overrides": {"schedule.loop_steps": 4}},
        {"name": "long", "overrides": ENDLESS},
        {"name": "later", "overrides": {**ENDLESS, "objective.tau_0": 0.3}},
    ]
    job = service.submit(study=None, variants=variants, max_parallel=2)
    canceller = service.when_one_has_ended_and_another_is_midway(
        job, lambda: service.queue.request_cancel(job.job_id), ended="short", midway="long"
    )
    ended = service.work_off(job)
    canceller.join()
    assert ended.state is JobState.CANCELLED
    assert service.run(job, "short").read_found() is not None
    assert service.run(job, "long").read_found() is None
    assert list((service.run(job, "long").path / "checkpoints").iterdir())
    assert left_of(job) == []


def test_a_run_of_several_workers_is_a_group_of_its_own(service: Service) -> None:
    variants = [{"name": "cold"}, {"name": "hot", "overrides": {**HOT, "schedule.apart_steps": 20}}]
    job = service.work_off(service.submit(study=None, variants=variants, resources={"num_workers": 2}))
    cold, hot = results_of(job).runs
    assert cold.state is RunState.SUCCEEDED
    assert cold.global_step == 20
    assert hot.failure is not None
    assert hot.failure.reason is FailureReason.DIVERGED
    assert left_of(job) == []
