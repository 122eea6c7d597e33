"""How a supervisor follows what the client wants and what the clock says."""

import threading
from collections.abc import Callable

from sqlalchemy import Engine

from service.jobs.states import FailureReason, JobState
from service.queue.deadlines import Deadlines
from service.queue.records import Job
from service.queue.repository import JobQueue
from service.queue.retry import RetryPolicy
from tests.workers.conftest import Meanwhile, scripted, wait_until
from workers.attempt_folder import AttemptFolder
from workers.settings import WorkerSettings
from workers.supervisor import Supervisor
from workers.tracking.experiment_log import NullLog

Submit = Callable[..., Job]
Worker = Callable[..., Supervisor]


def test_a_child_that_has_said_its_first_word_is_running(
    worker: Worker, submit: Submit, queue: JobQueue, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit()
    script = """
(folder / "ready").touch()
wait_for((folder / "go").exists)
say(kind="begun")
wait_for((folder / "stop").exists)
end(status="stopped")
"""
    seen = []

    def look() -> None:
        wait_until(lambda: queue.get(job.job_id).state is JobState.STARTING)
        (attempt(job).path / "go").touch()
        wait_until(lambda: queue.get(job.job_id).state is JobState.RUNNING)
        seen.append(queue.get(job.job_id).state)
        queue.request_cancel(job.job_id)

    looker = Meanwhile(attempt(job).path / "ready", look)
    worker(script).run_once()
    looker.join()
    assert seen == [JobState.RUNNING]


def test_a_pause_frees_the_worker_and_a_resume_goes_on_in_another_attempt(
    worker: Worker, submit: Submit, queue: JobQueue, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit()
    script = """
say(kind="begun")
if folder.name == "attempt-2":
    end(status="succeeded", results={})
    sys.exit()
(folder / "ready").touch()
wait_for((folder / "stop").exists)
end(status="stopped")
"""
    pause = Meanwhile(attempt(job).path / "ready", lambda: queue.request_pause(job.job_id))
    supervisor = worker(script)
    supervisor.run_once()
    pause.join()
    assert queue.get(job.job_id).state is JobState.PAUSED
    assert not supervisor.run_once()
    queue.resume(job.job_id)
    assert supervisor.run_once()
    assert queue.get(job.job_id).state is JobState.SUCCEEDED


def test_a_forced_cancel_kills_a_child_without_waiting_for_its_grace(
    worker: Worker, submit: Submit, queue: JobQueue, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit()
    script = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
(folder / "ready").touch()
wait_for(lambda: False)
"""
    kill = Meanwhile(attempt(job).path / "ready", lambda: queue.request_cancel(job.job_id, force=True))
    worker(script, stop_grace_s=3600).run_once()
    kill.join()
    assert queue.get(job.job_id).state is JobState.CANCELLED


def test_a_job_that_runs_longer_than_it_may_is_stopped_and_fails(
    worker: Worker, submit: Submit, queue: JobQueue
) -> None:
    job = submit(max_runtime_s=0.1)
    script = """
say(kind="begun")
wait_for((folder / "stop").exists)
end(status="stopped")
"""
    worker(script).run_once()
    ended = queue.get(job.job_id)
    assert ended.failure is not None
    assert (ended.state, ended.failure.reason) == (JobState.FAILED, FailureReason.DEADLINE)
    assert "its checkpoints are kept" in ended.failure.message


def test_a_child_that_never_begins_to_work_is_killed_and_tried_again(
    worker: Worker, submit: Submit, engine: Engine, settings: WorkerSettings
) -> None:
    job = submit()
    queue = JobQueue(engine, retry=RetryPolicy(base_s=0), deadlines=Deadlines(starting_s=0.1))
    script = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
wait_for(lambda: False)
"""
    supervisor = Supervisor(
        settings, queue, NullLog(), worker_id="w", pid=0, drain=threading.Event(), command=scripted(script)
    )
    supervisor.run_once()
    waiting = queue.get(job.job_id)
    assert waiting.failure is not None
    assert (waiting.state, waiting.failure.reason) == (JobState.RETRY_WAIT, FailureReason.INFRASTRUCTURE)
