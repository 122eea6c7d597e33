"""Keeps an embedded service up: starts its processes in order, restarts the dead, ends all of them."""

import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from service.embedded.components import USUAL_PORTS, Component, Layout, all_components
from service.embedded.errors import EmbeddedError
from service.embedded.home import ServiceRecord, locked, log_path, record_path
from service.embedded.running import RestartPolicy, RunningComponent
from service.embedded.sweep import RAY_FOLDER_PREFIX, remove_ray_folder, sweep

LOOK_EVERY_S = 0.25


class Phase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DIED = "died"
    STOPPING = "stopping"
    STOPPED = "stopped"


Teller = Callable[[str, Phase], None]
"""is told the component and what became of it; may be called from another thread"""


class EmbeddedService:
    """The service on this machine, as a context: inside it runs, after it nothing of it is left.

    Args:
        home: its folder.
        tell: hears what becomes of each component.
        recipe: its components.
        ports: of the API, MLflow and Ray's dashboard, where they are free; 0: any.
        restarts: when a component that has died is started again.

    Raises, on entering:
        AlreadyRunning: another process keeps one up in this home.
        EmbeddedError: a component does not start; the message has the end of its log.
    """

    def __init__(
        self,
        home: Path,
        *,
        tell: Teller,
        recipe: Callable[[Layout], Sequence[Component]] = all_components,
        ports: tuple[int, int, int] = USUAL_PORTS,
        restarts: RestartPolicy | None = None,
    ) -> None:
        self.home = home.expanduser().absolute()
        self._tell = tell
        self._recipe = recipe
        self._ports = ports
        self._restarts = restarts or RestartPolicy()
        self._running: dict[str, RunningComponent] = {}
        self._stopping = threading.Event()
        self._trouble: EmbeddedError | None = None
        self._stack = ExitStack()
        self.record: ServiceRecord

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(locked(self.home))
            clean_leftovers(self.home)
            ray_folder = tempfile.mkdtemp(prefix=RAY_FOLDER_PREFIX, dir="/tmp")  # sockets in it have short names only
            layout = Layout.choose(self.home, secrets.token_hex(8), ray_folder, self._ports)
            self.record = layout.record()
            self.record.write(self.home)  # at once: should we be killed, the next start knows what to clean up
            stack.callback(self._remove_traces)
            self._start_guard(stack)
            stack.callback(self._stop_all)
            self._start_all(self._recipe(layout))
            self._start_monitor(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def wait(self, timeout_s: float) -> None:
        """Let time pass.

        Raises:
            EmbeddedError: a component died again and again, or cannot be started again, and is given up.
        """
        time.sleep(timeout_s)
        if self._trouble is not None:
            raise self._trouble

    def session(self, component: str) -> int | None:
        """The process session that the component leads now, or led until it died: the pid of its leader."""
        return self._running[component].session

    def _start_guard(self, stack: ExitStack) -> None:
        """A process that ends the others when this one is killed."""
        with log_path(self.home, "guard").open("wb") as log:
            guard = subprocess.Popen(
                (sys.executable, "-m", "service.embedded.guard", self.record.embedded_id, self.record.ray_folder),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

        def dismiss() -> None:
            assert guard.stdin is not None
            guard.stdin.close()
            guard.wait()

        stack.callback(dismiss)

    def _start_all(self, components: Sequence[Component]) -> None:
        waiting = {component.name: component for component in components}
        ready: set[str] = set()
        while len(ready) < len(components):
            for component in [c for c in waiting.values() if ready.issuperset(c.needs)]:
                running = RunningComponent(waiting.pop(component.name), self.home, self._restarts)
                self._running[component.name] = running
                self._tell(component.name, Phase.STARTING)
                running.start()
            for name, running in self._running.items():
                if name in ready:
                    continue
                if running.exit_code() is not None:
                    raise EmbeddedError(f"the service cannot start: {running.last_words()}")
                if running.component.answers():
                    ready.add(name)
                    self._tell(name, Phase.READY)
                elif running.age_s > running.component.start_timeout_s:
                    raise EmbeddedError(
                        f"{name} did not answer within {running.component.start_timeout_s:.0f} s;"
                        f" {log_path(self.home, name)} may say why"
                    )
            time.sleep(LOOK_EVERY_S)

    def _start_monitor(self, stack: ExitStack) -> None:
        monitor = threading.Thread(target=self._restart_dead, name="embedded-monitor", daemon=True)
        stack.callback(monitor.join)
        stack.callback(self._stopping.set)
        monitor.start()

    def _restart_dead(self) -> None:
        told: set[str] = set()
        while not self._stopping.wait(LOOK_EVERY_S):
            for name, running in self._running.items():
                if running.exit_code() is not None and name not in told:
                    told.add(name)
                    self._tell(name, Phase.DIED)
                try:
                    if not running.due_for_restart():
                        continue
                    told.discard(name)
                    self._tell(name, Phase.STARTING)
                    running.start()
                except EmbeddedError as error:
                    self._trouble = error
                    return
                except OSError as error:
                    self._trouble = EmbeddedError(f"{name} has died and cannot be started again: {error}")
                    return

    def _stop_all(self) -> None:
        """The worker first, so that it can still tell the others what it stops."""
        for name, running in reversed(self._running.items()):
            self._tell(name, Phase.STOPPING)
            running.stop()
            self._tell(name, Phase.STOPPED)

    def _remove_traces(self) -> None:
        sessions = [running.session for running in self._running.values() if running.session is not None]
        sweep(self.record.embedded_id, sessions=sessions)
        remove_ray_folder(self.record.ray_folder)
        record_path(self.home).unlink(missing_ok=True)


def clean_leftovers(home: Path) -> int:
    """End what a killed service has left running; how many processes. Call it with the home locked."""
    record = ServiceRecord.read(home)
    if record is None:
        return 0
    found = sweep(record.embedded_id)
    remove_ray_folder(record.ray_folder)
    record_path(home).unlink(missing_ok=True)
    return found
