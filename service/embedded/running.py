"""One started component: its process, its log, its restarts."""

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from service.embedded.components import Component
from service.embedded.errors import EmbeddedError
from service.embedded.home import log_path
from service.embedded.sweep import end_session


@dataclass(frozen=True)
class RestartPolicy:
    """When a component that has died is started again."""

    first_delay_s: float = 1.0
    """doubled with each further restart in a row"""
    longest_delay_s: float = 30.0
    steady_after_s: float = 60.0
    """a process that lived so long has earned a fresh count of restarts"""
    max_restarts: int = 5
    """in a row; then it is given up"""


class RunningComponent:
    """A component's process. `start` may be called again when it has died."""

    def __init__(self, component: Component, home: Path, policy: RestartPolicy) -> None:
        self.component = component
        self._policy = policy
        self.restarts = 0
        self._log = log_path(home, component.name)
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._died_s: float | None = None
        if self._log.exists():
            self._log.replace(self._log.with_suffix(".log.1"))

    @property
    def session(self) -> int | None:
        """The process session it leads; None before its start."""
        return None if self._process is None else self._process.pid

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._started_s

    def start(self) -> None:
        if self._process is not None:
            end_session(self._process.pid)  # what a dead one has left would hold its ports
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.component.command,
                env=dict(self.component.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal reaches the keeper alone, which ends them in order
            )
        self._started_s = time.monotonic()
        self._died_s = None

    def exit_code(self) -> int | None:
        """None while it lives."""
        return None if self._process is None else self._process.poll()

    def due_for_restart(self) -> bool:
        """Whether it has died and its back-off is over; counts the restart.

        Raises:
            EmbeddedError: it died too often in a row.
        """
        code = self.exit_code()
        if code is None:
            return False
        now = time.monotonic()
        if self._died_s is None:
            self._died_s = now
            self.restarts = 0 if self.age_s > self._policy.steady_after_s else self.restarts
            if self.restarts >= self._policy.max_restarts:
                raise EmbeddedError(
                    f"{self.component.name} died {self.restarts + 1} times in a row. {self.last_words()}"
                )
        delay_s = min(self._policy.longest_delay_s, self._policy.first_delay_s * 2**self.restarts)
        if now - self._died_s < delay_s:
            return False
        self.restarts += 1
        return True

    def last_words(self, lines: int = 15) -> str:
        """How it ended, and the end of its log."""
        try:
            text = self._log.read_text(errors="replace")[-8000:]
        except OSError:
            text = ""
        tail = "\n".join(text.splitlines()[-lines:])
        return f"{self.component.name} ended with code {self.exit_code()}; the end of {self._log}:\n{tail}"

    def stop(self) -> None:
        """Ask it to end, wait, then kill what is left of its process session."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(self.component.stop_grace_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        end_session(process.pid)
