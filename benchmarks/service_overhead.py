"""What the service costs a training: a job's steps against those of `python -m sdcn_core train`, minute by minute.

    python -m benchmarks.service_overhead [--pairs 20] [--cpus N ...] [--keep benchmarks/service_overhead.md]

The same training runs twice: by itself and as a job of an embedded service as `sdcn up` starts it, with API, MLflow,
Ray, worker and predictor. They take turns of a few seconds: while one goes on, every process of the other is stopped
(SIGSTOP), so that each turn has the machine for itself, and a machine that is now faster and now slower, as shared ones
are, is so to both. Compared are a turn of the one and the turn of the other beside it: the time of a step in stage
`loop`, between the first and the last report that fall into the turn. Checkpoints are written as the preset says.

Either way the training gets `--cpus` threads. With as many as there are cores, the service's processes have none that
is theirs; with one fewer they have one, as where a machine was chosen with them in mind.
"""

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil
from scipy.stats import binom

from benchmarks.machine import machine
from service.client.client import SdcnClient
from service.embedded.keeper import EmbeddedService
from service.embedded.sweep import marked
from service.jobs.specs import TrainSpec
from service.jobs.states import JobState
from workers.attempt_folder import RunFolder
from workers.spool import ProgressEvent, SpoolReader

STAGE = "loop"
MANY_STEPS = 1_000_000
START_TIMEOUT_S = 600.0
_LINE = re.compile(rf"\s*[\d.]+ %\s+{STAGE}\s+(\d+)/\d+")


@dataclass(frozen=True)
class Point:
    """A report of stage `loop`."""

    at_s: float
    """since 1970"""
    step: int


@dataclass(frozen=True)
class Turn:
    """A time in which one of the two had the machine, in seconds since 1970."""

    began_s: float
    ended_s: float


@dataclass(frozen=True)
class Pair:
    """A step (s) in two turns beside one another."""

    alone_s: float
    as_job_s: float

    @property
    def more(self) -> float:
        """What the service adds, as a share of the time alone."""
        return self.as_job_s / self.alone_s - 1


def step_s(points: Sequence[Point], turn: Turn) -> float:
    """Seconds a step between the first and the last report of the turn.

    Raises:
        ValueError: fewer than two reports fall into it.
    """
    within = [point for point in points if turn.began_s <= point.at_s <= turn.ended_s]
    if len(within) < 2:
        raise ValueError(f"a turn of {turn.ended_s - turn.began_s:.0f} s saw {len(within)} reports: take longer turns")
    return (within[-1].at_s - within[0].at_s) / (within[-1].step - within[0].step)


class Training(Protocol):
    """One of the two."""

    began_s: float
    """when it was ordered, since 1970"""

    @property
    def points(self) -> Sequence[Point]:
        """What it has reported."""
        ...

    def signal(self, number: signal.Signals) -> None:
        """Send it to all of its processes."""
        ...

    def check(self) -> None:
        """See that it goes on.

        Raises:
            RuntimeError: it does not.
        """
        ...


class Alone:
    """The training by itself, in a session of its own."""

    def __init__(self, options: argparse.Namespace, home: Path, out: Path) -> None:
        command = [sys.executable, "-u", "-m", "sdcn_core", "train", "--preset", options.preset, "--out", str(out)]
        command += ["--cache", str(home / "cache")]
        command += [f"--set={path}={value}" for path, value in overrides().items()]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.cpus)}  # by which torch and numba go
        self.points: list[Point] = []
        self.began_s = time.time()
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if (found := _LINE.match(line)) is not None:
                self.points.append(Point(time.time(), int(found[1])))

    def signal(self, number: signal.Signals) -> None:
        os.killpg(self._process.pid, number)

    def check(self) -> None:
        """See Training."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the training by itself has ended with status {self._process.returncode}")

    def end(self) -> None:
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class AsJob:
    """The training as a job, with all processes of the service."""

    def __init__(self, options: argparse.Namespace, service: EmbeddedService, client: SdcnClient, home: Path) -> None:
        wanted = {"preset": options.preset, "overrides": overrides(), "resources": {"cpus_per_worker": options.cpus}}
        self._client = client
        self._mark = service.record.embedded_id
        self.began_s = time.time()
        self._job = client.submit(TrainSpec.model_validate(wanted)).id
        self._run = RunFolder(home, self._job)

    @property
    def points(self) -> list[Point]:
        return said(self._run)

    def signal(self, number: signal.Signals) -> None:
        for process in marked(self._mark):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def check(self) -> None:
        """See Training; a second attempt is not the one that is measured."""
        job = self._client.get(self._job)
        if job.state.is_terminal or job.attempt > 1:
            raise RuntimeError(f"job {job.id} is {job.state} in its attempt {job.attempt}")

    def end(self) -> None:
        self._client.cancel(self._job, force=True)
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while self._client.get(self._job).state is not JobState.CANCELLED and time.monotonic() < deadline_s:
            time.sleep(0.5)


def overrides() -> dict[str, object]:
    """Few steps before stage `loop`, and no end to it."""
    return {
        "schedule.backbone.steps": 5,
        "schedule.classifier.steps": 5,
        "schedule.apart_steps": 5,
        "schedule.loop_steps": MANY_STEPS,
        "schedule.decay_at_steps": [],
        "schedule.warmup_steps": 0,
    }


def said(run: RunFolder) -> list[Point]:
    """The reports of stage `loop` in a job's spools."""
    readers = [SpoolReader(folder.events) for folder in run.attempts()]
    points = []
    for reader in readers:
        while events := reader.read():
            points += [
                Point(event.time_ms / 1000, event.step)
                for event in events
                if isinstance(event, ProgressEvent) and event.stage == STAGE
            ]
    return points


@contextmanager
def stopped(one: Training) -> Iterator[None]:
    one.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        one.signal(signal.SIGCONT)


def first_report_s(one: Training) -> float:
    """Waits until the training has come to stage `loop`; the seconds from its order until then.

    Raises:
        RuntimeError: it has ended before, or does not come so far.
    """
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not one.points:
        one.check()
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"no report of stage {STAGE} came in {START_TIMEOUT_S:.0f} s")
        time.sleep(0.5)
    return one.points[0].at_s - one.began_s


def take_turns(
    alone: Training, as_job: Training, *, pairs: int, turn_s: float, tell: Callable[[int], None]
) -> list[Pair]:
    """Both go on, one after the other, and who begins changes from pair to pair."""
    turns: list[dict[Training, Turn]] = []
    for number in range(pairs):
        order: list[Training] = [alone, as_job]
        turns.append({})
        for going in order if number % 2 == 0 else reversed(order):
            with stopped(as_job if going is alone else alone):
                began_s = time.time()
                time.sleep(turn_s)
                turns[-1][going] = Turn(began_s, time.time())
        alone.check()
        as_job.check()
        tell(number + 1)
    by_itself, by_service = list(alone.points), as_job.points
    return [Pair(step_s(by_itself, turn[alone]), step_s(by_service, turn[as_job])) for turn in turns]


def table(pairs: Sequence[Pair], *, alone_before_s: float, as_job_before_s: float) -> str:
    """Each pair, and the median of what is added."""
    lines = ["| pair | alone: a step (ms) | as a job: a step (ms) | more (%) |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {number} | {1000 * pair.alone_s:.1f} | {1000 * pair.as_job_s:.1f} | {100 * pair.more:+.1f} |"
        for number, pair in enumerate(pairs, 1)
    ]
    added = sorted(pair.more for pair in pairs)
    rank = max(0, int(binom.ppf(0.025, len(added), 0.5)) - 1)  # of the order statistics that enclose the median
    lines += [
        "",
        f"As a job a step takes {100 * statistics.median(added):+.1f} % more time than alone, the median of the pairs."
        f" With 95 % certainty it lies between {100 * added[rank]:+.1f} and {100 * added[-1 - rank]:+.1f} %.",
        f"Until the first report of stage `{STAGE}` it took {alone_before_s:.0f} s alone and {as_job_before_s:.0f} s as"
        " a job, Ray's processes being started for it.",
        "",
    ]
    return "\n".join(lines)


def measure(options: argparse.Namespace) -> str:
    """What `table` says of a new service."""
    with tempfile.TemporaryDirectory(prefix="sdcn-", ignore_cleanup_errors=True) as folder:
        home = Path(folder, "home")
        first = Alone(options, home, Path(folder, "data"))  # draws the scenes, which both find then
        try:
            first_report_s(first)
        finally:
            first.end()
        by_itself = Alone(options, home, Path(folder, "alone"))
        try:
            alone_before_s = first_report_s(by_itself)
            with EmbeddedService(home, tell=lambda *_: None) as service, SdcnClient(service.record.url) as client:
                with stopped(by_itself):
                    as_job = AsJob(options, service, client, home)
                    as_job_before_s = first_report_s(as_job)
                pairs = take_turns(
                    by_itself,
                    as_job,
                    pairs=options.pairs,
                    turn_s=options.turn_s,
                    tell=lambda done: print(f"{done} of {options.pairs} pairs", file=sys.stderr),
                )
                as_job.end()
        finally:
            by_itself.end()
    return table(pairs, alone_before_s=alone_before_s, as_job_before_s=as_job_before_s)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--turn-s", type=float, default=12.0, help="shorter than a lease")
    parser.add_argument("--preset", default="scenes")
    parser.add_argument("--cpus", type=int, nargs="+", default=[os.cpu_count()], help="that the training gets")
    parser.add_argument("--keep", type=Path, help="a file to write to as well")
    given = parser.parse_args()
    began = time.monotonic()
    found = {}
    for cpus in given.cpus:
        found[cpus] = measure(argparse.Namespace(**vars(given) | {"cpus": cpus}))
    command = f"python -m benchmarks.service_overhead {' '.join(sys.argv[1:])}".strip()
    report = f"# What the service costs a training\n\n`{command}`, {time.monotonic() - began:.0f} s. {machine()}."
    report += f" Preset `{given.preset}`, turns of {given.turn_s:g} s.\n"
    for cpus, of_cpus in found.items():
        report += f"\n## The training has {cpus} {'thread' if cpus == 1 else 'threads'}\n\n{of_cpus}"
    print(report)
    if given.keep is not None:
        given.keep.write_text(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
