"""Ending every process of an embedded service, whoever started it, and none besides.

All carry the service's mark in their environment, which children inherit. Ray's workers overwrite theirs with a title,
so a process also counts when a marked one is its ancestor or shares its process session: the service opens its own.
"""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import psutil

MARK = "SDCN_EMBEDDED_ID"


def marked(embedded_id: str, *, sessions: Iterable[int] = ()) -> list[psutil.Process]:
    """The living processes of the service, without this one and its ancestors; `sessions` are known to be its own."""
    spared = _spared()
    others = [process for process in psutil.process_iter() if process.pid not in spared]
    found = {process.pid: process for process in others if _has_mark(process, embedded_id)}
    theirs = {*sessions, *_sessions_of(found.values())}
    found |= {process.pid: process for process in others if _session(process) in theirs}
    for process in list(found.values()):
        try:
            found |= {child.pid: child for child in process.children(recursive=True) if child.pid not in spared}
        except psutil.NoSuchProcess:
            continue
    return [process for process in found.values() if _lives(process)]


def sweep(embedded_id: str, *, sessions: Iterable[int] = (), grace_s: float = 5.0) -> int:
    """End what is left of the service: politely, then by force, until nothing is found; how many were found first."""
    sessions = set(sessions)
    first = left = marked(embedded_id, sessions=sessions)
    sessions |= _sessions_of(left)  # kept: who bears the mark may be gone when a bare child of his is found
    for process in left:
        _signal(process, force=False)
    psutil.wait_procs(left, timeout=grace_s if left else 0)
    for _ in range(50):  # a process may fork while it is looked for
        left = marked(embedded_id, sessions=sessions)
        if not left:
            break
        sessions |= _sessions_of(left)
        for process in left:
            _signal(process, force=True)
        psutil.wait_procs(left, timeout=0.2)
    return len(first)


def end_session(session: int) -> None:
    """Kill the members of a process session; its number cannot have passed to others while one of them lives."""
    for process in psutil.process_iter():
        if _session(process) == session:
            _signal(process, force=True)


def remove_ray_folder(folder: str) -> None:
    """Delete Ray's temporary folder; anything that is not one we made is left alone."""
    path = Path(folder)
    if path.name.startswith(RAY_FOLDER_PREFIX) and path.parent == Path("/tmp"):
        shutil.rmtree(path, ignore_errors=True)


RAY_FOLDER_PREFIX = "sdcn-ray-"


def _spared() -> set[int]:
    """This process and its ancestors."""
    return {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}


def _sessions_of(processes: Iterable[psutil.Process]) -> set[int]:
    """The process sessions of the living among them, without those that we are in ourselves."""
    ours = {os.getsid(pid) for pid in _spared() if psutil.pid_exists(pid)}
    return {_session(process) for process in processes} - ours - {0}


def _has_mark(process: psutil.Process, embedded_id: str) -> bool:
    try:
        return process.environ().get(MARK) == embedded_id
    except (psutil.Error, OSError):  # gone, or somebody else's
        return False


def _session(process: psutil.Process) -> int:
    try:
        return os.getsid(process.pid)
    except OSError:
        return 0


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(process: psutil.Process, *, force: bool) -> None:
    try:
        if force:
            process.kill()
        else:
            process.terminate()
    except psutil.Error:  # gone, or somebody else's by now
        pass
