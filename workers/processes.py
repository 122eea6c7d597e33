"""Finding and ending every process of an attempt, and none besides.

Each attempt's child leads a process session of its own. Ray's daemons stay in it but open process groups, and some
rewrite their environment, so a process belongs to an attempt when it is in the session, or carries the attempt's mark
in its environment. Nothing is ever ended by its name.
"""

import ctypes
import os
import signal
import socket
import time
from pathlib import Path

import psutil
import structlog
from pydantic import BaseModel, ConfigDict

log = structlog.get_logger()

MARK = "SDCN_JOB_ATTEMPT"
"""environment variable of an attempt's processes: <job_id>/<attempt>"""

KILL_PAUSE_S = 0.05
_PR_SET_PDEATHSIG = 1


class SessionRecord(BaseModel):
    """A process session, told apart from a later one that the kernel gives the same number."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    boot_id: str
    """a new one each time the machine starts"""
    session_id: int
    """the pid of the session's leader"""
    started_ticks: int
    """when the leader was created, in the kernel's ticks since the machine started: no clock change touches it"""
    mark: str

    @classmethod
    def of(cls, pid: int, mark: str) -> "SessionRecord":
        """The session that the process `pid` leads."""
        return cls(
            host=socket.gethostname(),
            boot_id=_boot_id(),
            session_id=pid,
            started_ticks=_started_ticks(pid),
            mark=mark,
        )

    @property
    def is_here(self) -> bool:
        """Whether it was opened on this host since it started; if not, its processes cannot be seen from here."""
        return self.host == socket.gethostname() and self.boot_id == _boot_id()


def die_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent dies, and die at once if that has happened already.

    The kernel watches the parent's thread that started us: the supervisor starts children on its main thread only.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def members(record: SessionRecord) -> list[psutil.Process]:
    """The living processes of an attempt on this host, without this process and its ancestors."""
    if not record.is_here:
        return []
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    recycled = _is_recycled(record)
    found = []
    for process in psutil.process_iter():
        if process.pid in spared:
            continue
        try:
            in_session = not recycled and os.getsid(process.pid) == record.session_id
            if (in_session or _has_mark(process.pid, record.mark)) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, ProcessLookupError, PermissionError, psutil.AccessDenied):
            continue
    return found


def end_session(record: SessionRecord, *, timeout_s: float) -> bool:
    """Kill every process of an attempt and wait until none is left; whether that was reached in time.

    Processes may appear while others are killed, so the search is repeated until it finds nothing.
    """
    deadline = time.monotonic() + timeout_s
    while alive := members(record):
        for process in alive:
            try:
                process.kill()  # psutil compares creation times first: a recycled pid is left alone
            except psutil.NoSuchProcess:
                continue
            except psutil.AccessDenied:
                log.warning("session.not_ours", pid=process.pid)
        time.sleep(KILL_PAUSE_S)  # not psutil's wait: it would reap our own child, whose exit status is for its Popen
        if time.monotonic() > deadline:
            return not members(record)
    return True


def _is_recycled(record: SessionRecord) -> bool:
    """Whether the session's number now belongs to a younger process.

    While a member lives the kernel gives the number to nobody else, so a leader of another age means that all are gone.
    """
    try:
        return _started_ticks(record.session_id) != record.started_ticks
    except (FileNotFoundError, ProcessLookupError):
        return False


def _started_ticks(pid: int) -> int:
    """Field 22 of /proc/<pid>/stat; the name in field 2 may hold blanks and brackets, so count from its end."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _has_mark(pid: int, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={mark}".encode() in environment.split(b"\0")


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
