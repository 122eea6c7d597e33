"""What the service costs a training: `python -m sdcn_core train` against the same training as a job.

    python -m benchmarks.service_overhead [--rounds 5] [--keep benchmarks/service_overhead.md]

Each round trains both ways, in alternating order, from the same generated data: alone, with nothing of the service
running; and as a job of an embedded service as `sdcn up` starts it, with API, MLflow, Ray, worker and predictor, which
ends before the other one begins. Compared is the time of a step in stage `loop`, from its first report to its last,
checkpoints included; the table has it for each round, and the ratio of the medians. What comes before training, as
starting Ray's processes, is told beside it.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.machine import machine
from service.client.client import SdcnClient
from service.embedded.keeper import EmbeddedService
from service.jobs.specs import TrainSpec
from service.jobs.states import JobState
from workers.attempt_folder import RunFolder
from workers.spool import ProgressEvent, SpoolReader

STAGE = "loop"
_LINE = re.compile(rf"\s*[\d.]+ %\s+{STAGE}\s+(\d+)/\d+")


@dataclass(frozen=True)
class Point:
    """A report of stage `loop`."""

    seconds: float
    step: int


@dataclass(frozen=True)
class Trained:
    """One training."""

    step_s: float
    """of stage `loop`"""
    before_s: float
    """from the order to the first report of stage `loop`"""


def trained(points: Sequence[Point], ordered_s: float) -> Trained:
    """The training that reported so.

    Raises:
        ValueError: it reported fewer than two times.
    """
    if len(points) < 2:
        raise ValueError(f"{len(points)} reports of stage {STAGE} say nothing: train for more steps")
    first, last = points[0], points[-1]
    return Trained((last.seconds - first.seconds) / (last.step - first.step), first.seconds - ordered_s)


def alone(overrides: dict[str, object], preset: str, home: Path, out: Path) -> Trained:
    """Train without a service; generated data is taken from the service's cache."""
    command = [sys.executable, "-u", "-m", "sdcn_core", "train", "--preset", preset, "--out", str(out)]
    command += ["--cache", str(home / "cache"), *(f"--set={path}={value}" for path, value in overrides.items())]
    ordered_s = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        found = map(_LINE.match, process.stdout)
        points = [Point(time.monotonic(), int(line[1])) for line in found if line is not None]
    if process.returncode != 0:
        raise RuntimeError(f"the training ended with status {process.returncode}")
    return trained(points, ordered_s)


def as_job(overrides: dict[str, object], preset: str, home: Path) -> Trained:
    """Train as a job of a service that starts for it and ends after it."""
    with EmbeddedService(home, tell=lambda *_: None) as service, SdcnClient(service.record.url) as client:
        ordered_s = time.time()
        spec = TrainSpec.model_validate({"preset": preset, "overrides": overrides, "export": False})
        job = client.submit(spec)
        for last in client.watch(job.id, interval_s=5):
            job = last
        if job.state is not JobState.SUCCEEDED:
            raise RuntimeError(f"job {job.id} has {job.state}")
    return trained(said(RunFolder(home, job.id)), ordered_s)


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


def table(rounds: Sequence[tuple[Trained, Trained]]) -> str:
    """Each round, and the medians."""
    lines = ["| round | alone: a step (ms) | as a job: a step (ms) | alone: before (s) | as a job: before (s) |"]
    lines.append("| --- | --- | --- | --- | --- |")
    for number, ways in enumerate(rounds, 1):
        cells = [f"{1000 * way.step_s:.1f}" for way in ways] + [f"{way.before_s:.0f}" for way in ways]
        lines.append(f"| {number} | {' | '.join(cells)} |")
    without, within = (statistics.median(ways[which].step_s for ways in rounds) for which in (0, 1))
    lines.append(f"| median | {1000 * without:.1f} | {1000 * within:.1f} | | |")
    return "\n".join(lines) + f"\n\nAs a job a step takes {100 * (within / without - 1):+.1f} % of its time alone.\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--preset", default="scenes")
    parser.add_argument("--steps", type=int, default=150, help="of stage loop")
    parser.add_argument("--keep", type=Path, help="a file to write to as well")
    given = parser.parse_args()
    overrides: dict[str, object] = {
        "schedule.backbone.steps": 5,
        "schedule.classifier.steps": 5,
        "schedule.apart_steps": 5,
        "schedule.loop_steps": given.steps,
        "schedule.decay_at_steps": [],
        "schedule.warmup_steps": 0,
        "data.source.test_images": 12,
    }
    began = time.monotonic()
    rounds = []
    with tempfile.TemporaryDirectory(prefix="sdcn-", ignore_cleanup_errors=True) as folder:
        home = Path(folder, "home")
        alone(overrides, given.preset, home, Path(folder, "data"))  # makes the data, and is not counted
        for number in range(given.rounds):
            by_itself = partial(alone, overrides, given.preset, home, Path(folder, f"alone-{number}"))
            by_service = partial(as_job, overrides, given.preset, home)
            if number % 2:
                second, first = by_service(), by_itself()
            else:
                first, second = by_itself(), by_service()
            rounds.append((first, second))
            print(f"round {number + 1}: {1000 * first.step_s:.1f} ms alone, {1000 * second.step_s:.1f} ms as a job")
    command = f"python -m benchmarks.service_overhead {' '.join(sys.argv[1:])}".strip()
    report = f"# What the service costs a training\n\n`{command}`, {time.monotonic() - began:.0f} s. {machine()}."
    report += f" Preset `{given.preset}`, {given.steps} steps of stage `{STAGE}`.\n\n{table(rounds)}"
    print(report)
    if given.keep is not None:
        given.keep.write_text(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
