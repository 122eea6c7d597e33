"""`sdcn up` and `sdcn down`: the embedded service in front of a person."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.status import Status

from service.embedded.errors import EmbeddedError
from service.embedded.home import holder, locked, ray_token
from service.embedded.keeper import EmbeddedService, Phase, clean_leftovers

TITLES = {"api": "API", "mlflow": "MLflow", "ray": "Ray", "worker": "worker", "predictor": "predictor"}
PATIENCE_S = 120.0
"""how long `sdcn down` waits for the service to end by itself"""


class Announcer:
    """Tells a console what becomes of the components: a spinner for those under way, a line for each that is ready."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began_s = time.monotonic()
        self._under_way: list[str] = []
        self._status: Status | None = None
        self.quiet = False
        """set while a bar is on the screen: then only what went wrong is told"""

    def __call__(self, component: str, phase: Phase) -> None:
        title = TITLES.get(component, component)
        if title in self._under_way:
            self._under_way.remove(title)
        if phase in {Phase.STARTING, Phase.STOPPING}:
            self._under_way.append(title)
        elapsed_s = time.monotonic() - self._began_s
        match phase:
            case Phase.READY:
                self._console.print(f"  {title:<9} ready after {elapsed_s:.0f} s")
            case Phase.DIED:
                self._console.print(f"  {title} has died and is started again", style="yellow")
            case Phase.STARTING | Phase.STOPPING | Phase.STOPPED:
                pass
        self._refresh("stopping" if phase in {Phase.STOPPING, Phase.STOPPED} else "starting")

    def rest(self) -> None:
        """Take the spinner off the screen."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _refresh(self, doing: str) -> None:
        if not self._under_way or self.quiet or not self._console.is_terminal:
            self.rest()
            return
        text = f"{doing} {', '.join(self._under_way)}"
        if self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        else:
            self._status.update(text)


@contextmanager
def interruptible() -> Iterator[None]:
    """Have SIGTERM and a closed terminal interrupt like Ctrl-C, so that what was started is stopped in order."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    heeded = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) is not signal.SIG_IGN]  # nohup
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def keep_up(home: Path, console: Console) -> int:
    """Start the service, say where it is, and keep it up until it is interrupted; the exit code."""
    announcer = Announcer(console)
    try:
        with interruptible():
            console.print(f"starting the service in {home}")
            with EmbeddedService(home, tell=announcer) as service:
                announcer.rest()
                record = service.record
                console.print(
                    f"\npages   {record.url}\nAPI     {record.url}/docs\nMLflow  {record.mlflow_url}\n"
                    f"Ray     {record.ray_dashboard_url}  (it asks for the token in {ray_token(home)})\n"
                    "\nsubmit a job   sdcn submit scenes --watch\n"
                    "compare        sdcn submit table-2 --data scenes --seeds 3 --watch\n"
                    "stop           Ctrl-C here, or sdcn down",
                    soft_wrap=True,
                )
                while True:
                    service.wait(0.5)
    except KeyboardInterrupt:
        announcer.rest()
        console.print("stopped")
        return 0
    except EmbeddedError as error:
        announcer.rest()
        console.print(str(error), style="red", soft_wrap=True)
        return 3


def take_down(home: Path, console: Console) -> int:
    """Stop the service of this home folder; the exit code."""
    pid = holder(home)
    if pid is None:
        if not home.exists():
            console.print(f"there is no service in {home}")
            return 0
        try:
            with locked(home):
                found = clean_leftovers(home)
        except EmbeddedError as error:  # somebody has just begun to start one
            console.print(str(error), style="red", soft_wrap=True)
            return 3
        console.print(
            f"no service was running in {home}" + (f"; {found} processes of a killed one ended" if found else "")
        )
        return 0
    os.kill(pid, signal.SIGTERM)
    console.print(f"stopping the service in {home}")
    deadline = time.monotonic() + PATIENCE_S
    while holder(home) == pid:
        if time.monotonic() > deadline:
            console.print(f"it does not end within {PATIENCE_S:.0f} s: kill -9 {pid} ends it by force", style="red")
            return 3
        time.sleep(0.2)
    console.print("stopped")
    return 0
