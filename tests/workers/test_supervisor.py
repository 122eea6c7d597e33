import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from service.jobs.specs import AblationSpec
from service.jobs.states import FailureReason, JobState
from service.queue.records import Job
from service.queue.repository import JobQueue
from tests.workers.conftest import Meanwhile, is_gone
from workers.attempt_folder import AttemptFolder, RunFolder
from workers.orphans import end_earlier_attempts
from workers.processes import SessionRecord
from workers.ray_runtime.raylet_watch import NOTE
from workers.settings import WorkerSettings
from workers.supervisor import Supervisor

Submit = Callable[..., Job]
Worker = Callable[..., Supervisor]


def sleeping_session(folder: AttemptFolder, *, mark: str) -> subprocess.Popen[bytes]:
    """A process session as an attempt leaves it behind."""
    folder.path.mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    folder.write_session(SessionRecord.of(process.pid, mark))
    return process


def test_an_empty_queue_is_no_work(worker: Worker) -> None:
    assert not worker("").run_once()


def test_a_child_that_succeeds_settles_the_job_with_its_results(
    worker: Worker, submit: Submit, queue: JobQueue
) -> None:
    job = submit()
    assert worker("end(status='succeeded', results={'answer': 42})").run_once()
    ended = queue.get(job.job_id)
    assert (ended.state, ended.results) == (JobState.SUCCEEDED, {"answer": 42})


def test_what_the_child_says_becomes_the_jobs_progress(worker: Worker, submit: Submit, queue: JobQueue) -> None:
    job = submit()
    script = """
say(kind="resumed", global_step=40)
say(kind="progress", stage="loop", step=5, stage_steps=10, fraction=0.5, global_step=45)
say(kind="metrics", global_step=45, values={"loss/mil": 0.25, "loss/adv": float("nan")})
end(status="succeeded", results={})
"""
    worker(script).run_once()
    progress = queue.get(job.job_id).progress
    assert progress is not None
    assert (progress.stage, progress.step, progress.stage_steps, progress.fraction) == ("loop", 5, 10, 0.5)
    assert (progress.global_step, progress.metrics) == (45, {"loss/mil": 0.25})
    assert queue.get(job.job_id).attempts[0].resumed_from_step == 40


def test_a_failure_keeps_the_childs_sentence(worker: Worker, submit: Submit, queue: JobQueue) -> None:
    job = submit()
    worker("end(status='failed', reason='bad_input', message='a.xml: no <size>; write it')").run_once()
    ended = queue.get(job.job_id)
    assert ended.state is JobState.FAILED
    assert ended.failure is not None
    assert (ended.failure.reason, ended.failure.message) == (FailureReason.BAD_INPUT, "a.xml: no <size>; write it")


def test_a_child_that_dies_without_a_word_is_tried_again(worker: Worker, submit: Submit, queue: JobQueue) -> None:
    job = submit()
    script = """
if folder.name == "attempt-1":
    os.kill(os.getpid(), signal.SIGKILL)
end(status="succeeded", results={})
"""
    supervisor = worker(script)
    supervisor.run_once()
    waiting = queue.get(job.job_id)
    assert waiting.state is JobState.RETRY_WAIT
    assert waiting.attempts[0].exit_reason is FailureReason.CRASHED
    assert "signal 9 (SIGKILL)" in (waiting.attempts[0].message or "")
    supervisor.run_once()
    assert queue.get(job.job_id).state is JobState.SUCCEEDED


def test_a_job_that_keeps_dying_fails_when_its_attempts_are_used_up(
    worker: Worker, submit: Submit, queue: JobQueue
) -> None:
    job = submit(max_attempts=2)
    supervisor = worker("sys.exit(7)")
    while supervisor.run_once():
        pass
    ended = queue.get(job.job_id)
    assert (ended.state, ended.attempt) == (JobState.FAILED, 2)
    assert ended.failure is not None
    assert "exit status 7" in ended.failure.message


def test_cancel_reaches_a_child_through_its_stop_file(
    worker: Worker, submit: Submit, queue: JobQueue, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit()
    script = """
(folder / "ready").touch()
wait_for((folder / "stop").exists)
end(status="stopped")
"""
    cancel = Meanwhile(attempt(job).path / "ready", lambda: queue.request_cancel(job.job_id))
    worker(script).run_once()
    cancel.join()
    assert queue.get(job.job_id).state is JobState.CANCELLED


def test_a_child_that_ignores_cancel_is_interrupted_and_then_killed(
    worker: Worker, submit: Submit, queue: JobQueue, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit()
    script = """
def refuse(*_):
    (folder / "interrupted").touch()
signal.signal(signal.SIGINT, refuse)
(folder / "ready").touch()
wait_for(lambda: False)
"""
    cancel = Meanwhile(attempt(job).path / "ready", lambda: queue.request_cancel(job.job_id))
    worker(script, stop_grace_s=0.1, interrupt_grace_s=0.1).run_once()
    cancel.join()
    assert queue.get(job.job_id).state is JobState.CANCELLED
    assert (attempt(job).path / "interrupted").exists()


def test_a_success_that_came_before_the_cancel_stays_a_success(
    worker: Worker, submit: Submit, queue: JobQueue, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit()
    script = """
(folder / "ready").touch()
wait_for((folder / "stop").exists)
end(status="succeeded", results={})
"""
    cancel = Meanwhile(attempt(job).path / "ready", lambda: queue.request_cancel(job.job_id))
    worker(script).run_once()
    cancel.join()
    assert queue.get(job.job_id).state is JobState.SUCCEEDED


def test_when_the_lease_is_lost_the_child_is_ended_and_nothing_written(
    worker: Worker, submit: Submit, queue: JobQueue, later_queue: JobQueue, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit()
    script = """
(folder / "pid").write_text(str(os.getpid()))
(folder / "ready").touch()
wait_for(lambda: False)
"""

    def take_away() -> None:
        assert later_queue.rescue_lost() == [job.job_id]
        assert later_queue.claim("worker-b", lease_s=3600) is not None

    thief = Meanwhile(attempt(job).path / "ready", take_away)
    worker(script).run_once()
    thief.join()
    assert is_gone(int((attempt(job).path / "pid").read_text()))
    taken = queue.get(job.job_id)
    assert (taken.state, taken.attempt, taken.attempts[-1].worker_id) == (JobState.CLAIMED, 2, "worker-b")
    assert taken.attempts[0].message is not None
    assert "stopped renewing its lease" in taken.attempts[0].message


def test_an_outcome_of_a_lost_lease_is_dropped(
    worker: Worker, submit: Submit, queue: JobQueue, later_queue: JobQueue, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit()
    script = """
(folder / "ready").touch()
wait_for((folder / "go").exists)
end(status="succeeded", results={})
"""

    def take_away() -> None:
        later_queue.rescue_lost()
        (attempt(job).path / "go").touch()

    thief = Meanwhile(attempt(job).path / "ready", take_away)
    worker(script, heartbeat_interval_s=3600).run_once()  # so that only the fence can tell
    thief.join()
    assert queue.get(job.job_id).state is JobState.RETRY_WAIT


def test_what_the_child_leaves_running_is_ended_before_the_job_is_settled(
    worker: Worker, submit: Submit, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit()
    script = """
import subprocess
left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
(folder / "left").write_text(str(left.pid))
end(status="succeeded", results={})
"""
    worker(script).run_once()
    assert is_gone(int((attempt(job).path / "left").read_text()))
    assert not attempt(job).session.exists()


def test_an_earlier_attempt_that_still_runs_here_is_ended_before_the_next_starts(
    worker: Worker, submit: Submit, queue: JobQueue, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit()
    queue.claim("worker-that-died", lease_s=-1)  # its lease has run out
    queue.rescue_lost()
    stale = sleeping_session(attempt(job), mark=f"{job.job_id}/1")
    script = f"""
alive = os.path.exists("/proc/{stale.pid}") and "zombie" not in open("/proc/{stale.pid}/status").read()
end(status="succeeded", results={{"alive": alive}})
"""
    assert worker(script).run_once()
    assert stale.wait(timeout=5) == -signal.SIGKILL
    assert queue.get(job.job_id).results == {"alive": False}


def test_only_attempts_before_the_next_are_ended(submit: Submit, attempt: Callable[..., AttemptFolder]) -> None:
    job = submit()
    earlier = sleeping_session(attempt(job, 1), mark=f"{job.job_id}/1")
    current = sleeping_session(attempt(job, 2), mark=f"{job.job_id}/2")
    end_earlier_attempts(RunFolder(attempt(job).path.parents[2], job.job_id), before=2)
    assert earlier.wait(timeout=5) == -signal.SIGKILL
    assert current.poll() is None
    current.kill()
    current.wait()


def test_an_orphan_whose_job_has_ended_is_ended_too(
    worker: Worker, submit: Submit, queue: JobQueue, later_queue: JobQueue, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit(max_lost_attempts=1)
    queue.claim("worker-that-died", lease_s=20)
    orphan = sleeping_session(attempt(job), mark=f"{job.job_id}/1")
    worker("").run_once()
    assert orphan.poll() is None, "its job is still leased: it may be another worker's of this host"
    later_queue.rescue_lost()
    worker("").run_once()
    assert orphan.wait(timeout=5) == -signal.SIGKILL


def test_a_draining_worker_gives_the_job_back(
    worker: Worker, submit: Submit, queue: JobQueue, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit()
    script = """
(folder / "ready").touch()
wait_for((folder / "stop").exists)
end(status="stopped")
"""
    drain = threading.Event()
    order = Meanwhile(attempt(job).path / "ready", drain.set)
    worker(script, drain=drain).run()
    order.join()
    given_back = queue.get(job.job_id)
    assert given_back.state is JobState.RETRY_WAIT
    assert given_back.attempts[0].exit_reason is FailureReason.INFRASTRUCTURE


def test_an_attempt_that_cannot_be_started_is_tried_again(
    worker: Worker, submit: Submit, queue: JobQueue, settings: WorkerSettings
) -> None:
    job = submit()
    (settings.home / "runs").mkdir()
    (settings.home / "runs" / job.job_id).write_text("a file where a folder must be")
    worker("").run_once()
    assert queue.get(job.job_id).state is JobState.RETRY_WAIT


def test_memory_that_ran_out_is_told_and_not_tried_again(
    worker: Worker, submit: Submit, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit()
    counts = iter([3, 4])
    monkeypatch.setattr("workers.supervisor.oom_kills", lambda: next(counts))
    worker("os.kill(os.getpid(), signal.SIGKILL)").run_once()
    ended = queue.get(job.job_id)
    assert ended.failure is not None
    assert ended.failure.reason is FailureReason.OUT_OF_MEMORY


def test_a_study_whose_driver_is_lost_is_tried_again_though_a_run_was_killed_for_memory_before(
    worker: Worker, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = AblationSpec.model_validate({"preset": "tiny", "study": "oicr-against-sdcn"}).resolve()
    job, _ = queue.enqueue(spec, idempotency_key=None, body_digest="")
    counts = iter([3, 4])
    monkeypatch.setattr("workers.supervisor.oom_kills", lambda: next(counts))
    worker("os.kill(os.getpid(), signal.SIGKILL)").run_once()
    lost = queue.get(job.job_id)
    assert lost.state is JobState.RETRY_WAIT
    assert [attempt.exit_reason for attempt in lost.attempts] == [FailureReason.CRASHED]


def test_private_scratch_is_gone_after_the_attempt(
    worker: Worker, submit: Submit, attempt: Callable[..., AttemptFolder]
) -> None:
    job = submit()
    worker("end(status='succeeded', results={})").run_once()
    scratch = attempt(job).read_order().scratch
    assert scratch.name.startswith("sdcn-")
    assert not scratch.exists()
    assert os.path.isabs(scratch)


def test_a_home_given_relative_reaches_the_child_as_absolute(settings: WorkerSettings) -> None:
    assert RunFolder(Path("relative"), "job").path.is_absolute()
    assert settings.home.is_absolute()


def test_a_child_that_ray_has_taken_along_is_the_infrastructures_failure(
    worker: Worker, submit: Submit, queue: JobQueue
) -> None:
    job = submit()
    scratch = "pathlib.Path(json.loads((folder / 'spec.json').read_text())['scratch'])"
    worker(f"({scratch} / {NOTE!r}).write_text('/no/such/socket'); sys.exit(1)").run_once()
    assert queue.get(job.job_id).attempts[0].exit_reason is FailureReason.INFRASTRUCTURE


def test_a_child_is_not_told_the_workers_secrets(
    worker: Worker, submit: Submit, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit()
    fields = WorkerSettings.model_fields.items()
    secrets = {f"SDCN_{name.upper()}" for name, field in fields if "SecretStr" in str(field.annotation)}
    for name in (*secrets, "SDCN_LEFT_ALONE"):
        monkeypatch.setenv(name, "geheim")
    worker("end(status='succeeded', results={'told': sorted(os.environ)})").run_once()
    told = (queue.get(job.job_id).results or {})["told"]
    assert {"SDCN_JOB_ATTEMPT", "SDCN_LEFT_ALONE"} <= set(told)
    assert {"SDCN_DATABASE_URL", "SDCN_DATABASE_PASSWORD"} <= secrets
    assert secrets.isdisjoint(told)
