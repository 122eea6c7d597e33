"""The GPUs of this machine as NVIDIA's own tool tells of them; where there is no such tool, there are none."""

import csv
import shutil
import subprocess
from typing import Final

import structlog

from service.jobs.worker_figures import GpuFigures
from workers.repeating import Repeating

log = structlog.get_logger()

TOOL: Final = "nvidia-smi"
QUERY: Final = "--query-gpu=index,utilization.gpu,memory.used,memory.total"
TIMEOUT_S: Final = 10.0
INTERVAL_S: Final = 10.0
MIB: Final = 2**20


def read_gpus() -> tuple[GpuFigures, ...]:
    """Ask once.

    Raises:
        OSError: the tool cannot be run, or fails.
        ValueError: its answer cannot be read.
        subprocess.TimeoutExpired: the driver does not answer.
    """
    if shutil.which(TOOL) is None:
        return ()
    command = [TOOL, QUERY, "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise OSError(f"{TOOL} ended with status {done.returncode}: {done.stdout.strip()[:200]}")
    return tuple(_read(row) for row in csv.reader(done.stdout.splitlines(), skipinitialspace=True) if row)


def _read(row: list[str]) -> GpuFigures:
    index, use, used_mib, total_mib = row
    return GpuFigures(
        index=int(index),
        use=float(use) / 100 if use.isdecimal() else None,  # a GPU that is split says [N/A]
        memory_bytes=int(used_mib) * MIB,
        memory_total_bytes=int(total_mib) * MIB,
    )


class GpuWatch:
    """Asks again and again on a thread of its own: a driver that hangs must not hang who asks for the figures."""

    def __init__(self, *, interval_s: float = INTERVAL_S) -> None:
        self._latest: tuple[GpuFigures, ...] = ()
        self._silent = False
        self._looks = Repeating("gpus", self.look, interval_s=interval_s)

    @property
    def latest(self) -> tuple[GpuFigures, ...]:
        """As last told; empty where there are none, or they do not answer."""
        return self._latest

    def start(self) -> None:
        if shutil.which(TOOL) is not None:
            self._looks.start()

    def stop(self) -> None:
        self._looks.end()

    def look(self) -> None:
        """Ask once. A driver that fails is told of once, until it answers again."""
        try:
            self._latest, self._silent = read_gpus(), False
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self._latest = ()
            if not self._silent:
                log.warning("gpus.not_read", reason=str(error)[:300])
            self._silent = True
