"""What keeps an attempt that another has taken over from writing: it may have been stopped, with its worker or with its
whole machine, past the end of its lease, and go on where it stood.

The queue fences its own rows by the lease's token. On disk a later attempt's folder is the fence: it is made before
anything else of that attempt, and nothing of an earlier one is written once it is there.
"""

import shutil
import stat
from pathlib import Path

from workers.attempt_folder import attempts_in
from workers.errors import AttemptSuperseded


def check_fence(job_path: Path, attempt: int) -> None:
    """Call it before what is written for all attempts: checkpoints and artifacts.

    Raises:
        AttemptSuperseded: a later attempt of the job has begun.
    """
    if any(folder.number > attempt for folder in attempts_in(job_path)):
        raise AttemptSuperseded(f"attempt {attempt} has been taken over by a later one: it writes nothing more")


def seal_spools(job_path: Path, *, before: int) -> None:
    """What attempts earlier than `before` have said stays as it is, of the job and of its study's runs.

    Raises:
        OSError: the disk is full, or failed.
    """
    for path in (job_path, *(job_path / "runs").glob("*")):
        for attempt in attempts_in(path):
            if attempt.number < before:
                _seal(attempt.events)


def _seal(spool: Path) -> None:
    """A copy that cannot be written takes its place: who has it open adds to a file that nobody finds."""
    try:
        if not spool.stat().st_mode & stat.S_IWUSR:
            return
        partial = spool.with_name(f".{spool.name}.sealed")
        shutil.copyfile(spool, partial)
        partial.chmod(0o444)
        partial.replace(spool)
    except FileNotFoundError:
        return
