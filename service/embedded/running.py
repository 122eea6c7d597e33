"""One started component: its process, its log, its restarts."""

import subprocess
import time
from pathlib import Path

from service.embedded.components import Component
from service.embedded.errors import EmbeddedError
from service.embedded.home import log_path
from service.embedded.sweep import end_session

FIRST_DELAY_S = 1.0
LONGEST_DELAY_S = 30.0
STEADY_AFTER_S = 60.0
"""a process that lived so long has earned a fresh count of restarts"""
MAX_RESTARTS = 5


class RunningComponent:
    """A component's process. `start` may be called again when it has died."""

    def __init__(self, component: Component, home: Path) -> None:
        self.component = component
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
            self.restarts = 0 if self.age_s > STEADY_AFTER_S else self.restarts
            if self.restarts >= MAX_RESTARTS:
                raise EmbeddedError(
                    f"{self.component.name} died {self.restarts + 1} times in a row. {self.last_words()}"
                )
        delay_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**self.restarts)
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
