"""What dead attempts left behind: processes on this host, scratch folders, placement groups in a shared cluster."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import structlog
from pydantic import ValidationError

from service.errors import JobNotFound
from service.queue.repository import JobQueue
from workers.attempt_folder import AttemptFolder, RunFolder
from workers.child import SESSION_KILL_TIMEOUT_S
from workers.errors import WorkerError
from workers.processes import end_session
from workers.ray_runtime.environment import LOCAL, ray_environment

log = structlog.get_logger()

PLACEMENT_GROUP_TIMEOUT_S = 60.0


def end_earlier_attempts(run: RunFolder, *, before: int) -> None:
    """Before an attempt starts: see to it that no process of an earlier one is left on this host.

    Two attempts of a job must never write checkpoints side by side. Those of another host cannot be seen from here; its
    supervisor ends them when it finds the lease lost, and the kernel does when the supervisor dies.

    Raises:
        WorkerError: processes could not be ended.
    """
    for folder in run.attempts():
        if folder.number < before:
            _end(folder)


def end_orphans(home: Path, queue: JobQueue) -> None:
    """End the sessions on this host whose attempt no longer holds its job: their worker died and none came back to it.

    Raises:
        ServiceError: the queue cannot be asked.
    """
    for path in sorted((home.resolve() / "runs").glob("*/attempt-*/session.json")):
        folder = AttemptFolder(path.parent)
        try:
            job = queue.get(folder.run_path.name)
        except JobNotFound:
            continue  # another database's job: not ours to judge
        if job.state.is_leased and job.attempt == folder.number:
            continue
        with structlog.contextvars.bound_contextvars(job_id=folder.run_path.name, attempt=folder.number):
            try:
                _end(folder)
            except WorkerError as error:
                log.error("orphan.not_ended", reason=str(error))


def _end(folder: AttemptFolder) -> None:
    record = folder.read_session()
    if record is not None and record.is_here:
        log.info("attempt.cleaned_up", path=str(folder.path))
        if not end_session(record, timeout_s=SESSION_KILL_TIMEOUT_S):
            raise WorkerError(f"processes of an earlier attempt (session {record.session_id}) cannot be ended")
        remove_placement_groups(folder)
        _remove_scratch(folder)
        folder.session.unlink(missing_ok=True)


def _remove_scratch(folder: AttemptFolder) -> None:
    try:
        scratch = folder.read_order().scratch
    except (FileNotFoundError, ValidationError):
        return
    if scratch.parent == Path(tempfile.gettempdir()) and scratch.name.startswith("sdcn-"):
        shutil.rmtree(scratch, ignore_errors=True)
    shutil.rmtree(folder.work, ignore_errors=True)


def remove_placement_groups(folder: AttemptFolder) -> None:
    """Give back what a killed attempt had reserved in a shared cluster; Ray itself misses a group that was starting.

    When nothing is left, the driver's id goes, by which it would be looked for again. Where a cluster does not answer,
    that is only warned of: its resources are not the job's failure.
    """
    if _nothing_is_reserved(folder):
        folder.ray_job.unlink(missing_ok=True)


def _nothing_is_reserved(folder: AttemptFolder) -> bool:
    """Remove the attempt's placement groups; whether none is left. A process of its own does it, because this one never
    imports Ray.
    """
    driver = folder.read_ray_job()
    try:
        order = folder.read_order()
    except (FileNotFoundError, ValidationError):
        return True
    if driver is None or order.ray.address == LOCAL or folder.read_outcome() is not None:
        return True
    command = [sys.executable, "-m", "workers.ray_runtime.placement_groups", order.ray.address, driver]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **ray_environment(order.ray, order.scratch)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PLACEMENT_GROUP_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        log.warning("placement_groups.not_checked", address=order.ray.address, reason="Ray did not answer in time")
        return False
    if done.returncode != 0:
        log.warning("placement_groups.not_checked", address=order.ray.address, reason=done.stderr[-500:])
    return done.returncode == 0
