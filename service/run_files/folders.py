"""The folders of a job and of the runs of a study, by names that cannot lead elsewhere.

<runs>/<job id>/                    attempt-<n>/events.jsonl, attempt-<n>/log.txt, artifacts/
<runs>/<job id>/runs/<run name>/    the same, and run.json, found.json
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from service.errors import RunNotFound

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,79}")
"""what is hidden (`.shared-...`) is no run of the study"""
_ATTEMPT = re.compile(r"attempt-([0-9]{1,6})")


class RunFiles:
    """The files of a job, or of one run of a study; they are laid out alike."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.artifacts = path / "artifacts"
        self.record = path / "run.json"
        self.found = path / "found.json"

    def attempts(self) -> list[tuple[int, Path]]:
        """(number, folder) of every attempt that has one, first to last."""
        try:
            names = os.listdir(self.path)
        except OSError:
            return []
        numbers = sorted(int(match[1]) for name in names if (match := _ATTEMPT.fullmatch(name)))
        return [(number, self.path / f"attempt-{number}") for number in numbers]

    def spools(self) -> list[tuple[int, Path]]:
        """(number, file) of every attempt that may have said something, first to last."""
        return [(number, folder / "events.jsonl") for number, folder in self.attempts()]


def job_files(runs: Path, job_id: str, run: str | None = None) -> RunFiles:
    """The files of the job, or of its run of this name.

    Args:
        runs: the folder of all jobs.
        job_id: an id that the queue knows.
        run: as a client wrote it; None: the job's own.

    Raises:
        RunNotFound: it is no name of a run, or nothing has been written of it.
    """
    if run is None:
        return RunFiles(runs / job_id)
    files = RunFiles(runs / job_id / "runs" / run) if RUN_NAME.fullmatch(run) else None
    if files is None or not is_folder(files.path):
        raise RunNotFound(
            f"job {job_id} has no run {run[:100]!r}, or it has not begun; GET /v1/jobs/{job_id}/runs lists its runs"
        )
    return files


def run_folders(runs: Path, job_id: str) -> dict[str, RunFiles]:
    """The runs of a study that have begun, by name, in the order of names."""
    folder = runs / job_id / "runs"
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except OSError:
        return {}
    return {name: RunFiles(folder / name) for name in names if RUN_NAME.fullmatch(name)}


def is_folder(path: Path) -> bool:
    """Whether it is a folder, and no link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file in a folder, neither of them a symbolic link.

    Raises:
        FileNotFoundError: there is none.
    """
    with open_file(path) as file:
        yield file


def open_file(path: Path) -> BinaryIO:
    """As `opened`; the caller closes it.

    Raises:
        FileNotFoundError: there is no such regular file, or a link is in its place.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:  # a pipe would block an open for reading
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(path.name, flags, dir_fd=folder)
        finally:
            os.close(folder)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(f"{path} cannot be opened") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(f"{path} is no regular file")
    return os.fdopen(descriptor, "rb")
