"""The folder an embedded service lives in: its lock, its address for clients, its token, its logs.

<home>/embedded.lock   held by the process that keeps the service up; its pid is the content
<home>/service.json    where clients find it, and what a next start must clean up if this one is killed
<home>/ray_token       shared secret of Ray's processes, readable by the owner alone
<home>/predictor_token that of the API and the predictor, likewise
<home>/logs/<name>.log what each process says; the run before is <name>.log.1
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from service.embedded.errors import AlreadyRunning


@dataclass(frozen=True)
class ServiceRecord:
    """An embedded service that runs, or ran and was killed."""

    url: str
    """of the API, and of its pages for people"""
    mlflow_url: str
    ray_dashboard_url: str
    ray_address: str
    pid: int
    """of the process that keeps it up"""
    embedded_id: str
    """the mark that all its processes carry in their environment"""
    ray_folder: str

    def write(self, home: Path) -> None:
        path = record_path(home)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(self), indent=2) + "\n")
        part.replace(path)  # a reader sees all of it or nothing

    @classmethod
    def read(cls, home: Path) -> Self | None:
        """The record in `home`; None where there is none that can be read."""
        try:
            return cls(**json.loads(record_path(home).read_text()))
        except (OSError, ValueError, TypeError):
            return None


def record_path(home: Path) -> Path:
    return home / "service.json"


def log_path(home: Path, name: str) -> Path:
    return home / "logs" / f"{name}.log"


def _lock_path(home: Path) -> Path:
    return home / "embedded.lock"


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Make the home folder this process's own, until the end of the block or of the process.

    Raises:
        AlreadyRunning: another living process has it.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / "logs").mkdir(exist_ok=True)
    with _lock_path(home).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            record = ServiceRecord.read(home)
            where = f" at {record.url}" if record else ""
            raise AlreadyRunning(
                f"a service runs already{where} from {home}: use it (sdcn submit), stop it (sdcn down), or choose"
                " another folder with --home"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def holder(home: Path) -> int | None:
    """The pid of the living process that has the home folder; None where nobody has."""
    try:
        with _lock_path(home).open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                text = file.read().strip()
                return int(text) if text.isdecimal() else None
    except FileNotFoundError:
        pass
    return None


def ray_token(home: Path) -> Path:
    """The file with the secret of Ray's processes, made with the first call."""
    return _secret(home / "ray_token")


def predictor_token(home: Path) -> Path:
    """The file with the secret by which the predictor knows the API, made with the first call."""
    return _secret(home / "predictor_token")


def _secret(path: Path) -> Path:
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return path
