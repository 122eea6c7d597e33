"""The process of an attempt: started by the supervisor, asked to stop, interrupted, at last killed with its session."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

import structlog

from workers.attempt_folder import AttemptFolder
from workers.lease_watch import DESCRIPTOR, LeasePipe
from workers.processes import MARK, SessionRecord, end_session

log = structlog.get_logger()

SESSION_KILL_TIMEOUT_S = 20.0

SECRETS = (
    "SDCN_DATABASE_URL",
    "SDCN_DATABASE_PASSWORD",
    "PGPASSWORD",
    "SDCN_MLFLOW_TRACKING_URI",
    "SDCN_PREDICTOR_TOKEN",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
)
"""what a child, which speaks to neither the queue nor MLflow, is not told"""


class Child:
    """A running attempt. Start it on the main thread: the kernel ends it when the thread that started it ends."""

    def __init__(
        self,
        folder: AttemptFolder,
        command: Sequence[str],
        *,
        mark: str,
        stop_grace_s: float,
        interrupt_grace_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._stop_grace_s = stop_grace_s
        self._interrupt_grace_s = interrupt_grace_s
        self._monotonic = monotonic
        self._stop_asked_at: float | None = None
        self._interrupted_at: float | None = None
        self._pipe = LeasePipe()
        try:
            with folder.log.open("ab") as output:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=_environment(mark) | {DESCRIPTOR: str(self._pipe.child_end)},
                    pass_fds=[self._pipe.child_end],
                    start_new_session=True,
                )
        except BaseException:
            self._pipe.close()
            raise
        finally:
            os.close(self._pipe.child_end)
        try:
            self.session = SessionRecord.of(self._process.pid, mark)
            folder.write_session(self.session)
        except BaseException:
            self._process.kill()  # unrecorded, it could not be found again by who comes after us
            self._process.wait()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def hold(self, until_s: float) -> None:
        """Tell it until when its attempt holds the lease, by time.monotonic(): then it ends by itself."""
        self._pipe.tell(until_s)

    def ask_to_stop(self) -> None:
        """Leave the stop file, which training looks for between steps. Asking again changes nothing."""
        if self._stop_asked_at is None:
            self._folder.stop.touch()
            self._stop_asked_at = self._monotonic()

    def press(self) -> None:
        """Grow more insistent when the time given has passed: interrupt, then kill. Call it often after ask_to_stop."""
        now = self._monotonic()
        if self._stop_asked_at is None or self.poll() is not None:
            return
        if self._interrupted_at is None:
            if now - self._stop_asked_at >= self._stop_grace_s:
                log.warning("child.interrupted", pid=self.pid, after_s=self._stop_grace_s)
                self._process.send_signal(signal.SIGINT)
                self._interrupted_at = now
        elif now - self._interrupted_at >= self._interrupt_grace_s:
            log.warning("child.killed", pid=self.pid, after_s=self._interrupt_grace_s)
            self.end()

    def end(self) -> bool:
        """Kill what is left of the session, the child too if it runs; whether nothing is left."""
        gone = end_session(self.session, timeout_s=SESSION_KILL_TIMEOUT_S)
        self._pipe.close()
        try:
            self._process.wait(timeout=SESSION_KILL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return False
        return gone


def _environment(mark: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return inherited | {MARK: mark, "PYTHONUNBUFFERED": "1"}
