"""A sweep in a folder of its own, attempted by the real child process, which may be killed."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from service.jobs.study_results import RunFound, SweepResults
from service.jobs.sweep_spec import SweepSpec
from workers.attempt_folder import (
    AttemptFolder,
    AttemptOrder,
    Outcome,
    RayOrder,
    RunFolder,
    Succeeded,
    attempts_in,
)
from workers.child import Child
from workers.spool import Event, MetricsEvent, SpoolReader
from workers.study.run_folder import StudyRunFolder
from workers.supervisor import attempt_command

CPUS = 2
QUICK = {"evaluation.baselines": False, "evaluation.flip": False}
"""beside the preset `tiny`: what is judged is not what these sweeps are about"""


class SweepAttempts:
    """Attempts at one sweep, one after another. Use it on the main thread: children end with the thread.

    Args:
        home: an empty folder.
        scratch: a folder with a short path, for sockets.
        fields: of the SweepSpec; the experiment is the preset `tiny`.
    """

    def __init__(self, home: Path, scratch: Path, **fields: Any) -> None:
        overrides = {**QUICK, **fields.pop("overrides", {})}
        self.spec = SweepSpec.model_validate({"preset": "tiny", "overrides": overrides, **fields}).resolve()
        self.home = home
        self.scratch = scratch
        self.job_id = f"sweep-{uuid4().hex[:8]}"  # unique on the host: the processes of an attempt are found by it
        self.job = RunFolder(home, self.job_id)
        self.number = 0

    def begin(self) -> Child:
        """Start the next attempt."""
        self.number += 1
        folder = self.folder
        folder.path.mkdir(parents=True)
        scratch = self.scratch / str(self.number)
        scratch.mkdir()
        folder.write_order(
            AttemptOrder(
                job_id=self.job_id,
                attempt=self.number,
                spec=self.spec,
                home=self.home,
                data_root=self.home / "data",
                weights_root=self.home / "weights",
                scratch=scratch,
                ray=RayOrder(
                    address="local", auth_mode="token", start_timeout_s=60, num_cpus=CPUS, checkpoints_to_keep=2
                ),
            )
        )
        return Child(
            folder,
            attempt_command(folder.path, os.getpid()),
            mark=f"{self.job_id}/{self.number}",
            stop_grace_s=60,
            interrupt_grace_s=20,
        )

    @property
    def folder(self) -> AttemptFolder:
        """Of the latest attempt."""
        return self.job.attempt(self.number)

    def end(self, child: Child, *, when: Callable[[], bool] = lambda: False, timeout_s: float = 300) -> Outcome | None:
        """Wait until the child has ended, or kill -9 it as soon as `when` says so; its outcome."""
        deadline = time.monotonic() + timeout_s
        try:
            while child.poll() is None and not when():
                assert time.monotonic() < deadline, self.folder.log.read_text()[-20_000:]
                child.press()
                time.sleep(0.05)
        finally:
            child.end()
        return self.folder.read_outcome()

    def attempt(self) -> SweepResults:
        """One attempt, to the end; what it found."""
        outcome = self.end(self.begin())
        assert isinstance(outcome, Succeeded), (outcome, self.folder.log.read_text()[-20_000:])
        return SweepResults.model_validate(outcome.results)

    # --- what lies on disk

    def runs(self) -> list[StudyRunFolder]:
        return [StudyRunFolder(path.parent) for path in sorted(self.job.path.glob("runs/trial-*/run.json"))]

    def found(self) -> dict[str, RunFound]:
        return {folder.path.name: found for folder in self.runs() if (found := folder.read_found()) is not None}

    def latest(self) -> list[AttemptFolder]:
        """What the trials have of the latest attempt."""
        return [AttemptFolder(path) for path in self.job.path.glob(f"runs/trial-*/attempt-{self.number}")]

    @property
    def is_training(self) -> bool:
        """Whether a trial has reported a step to the latest attempt."""
        return any(training_steps(attempt) for attempt in self.latest())

    @property
    def first_step(self) -> int:
        """At which trials begin, after the stages that they share."""
        schedule = self.spec.resolved_experiment.schedule
        return schedule.backbone.steps + schedule.classifier.steps

    def steps_reported(self) -> dict[str, list[list[int]]]:
        """Of each run: the global steps that each attempt reported while it trained, attempt by attempt."""
        return {
            folder.path.name: [training_steps(attempt) for attempt in attempts_in(folder.path)]
            for folder in self.runs()
        }

    def steps_repeated(self) -> dict[str, list[int]]:
        """Of each run: how many optimizer steps each attempt trained that earlier ones had reported already."""
        interval = self.spec.resolved_experiment.schedule.report_every_steps
        repeated: dict[str, list[int]] = {}
        for name, attempts in self.steps_reported().items():
            before: set[int] = set()
            repeated[name] = []
            for steps in attempts:
                repeated[name].append(interval * len(before.intersection(steps)))
                before.update(steps)
        return repeated

    def trained_after_the_end(self) -> list[str]:
        """Runs that have reported a step after their found.json was written."""
        late = []
        for folder in self.runs():
            ended_ms = folder.found.stat().st_mtime * 1000 if folder.found.exists() else math.inf
            if any(event.time_ms > ended_ms for a in attempts_in(folder.path) for event in training_events(a)):
                late.append(folder.path.name)
        return late


def training_steps(attempt: AttemptFolder) -> list[int]:
    """The global steps that the attempt reported while it trained."""
    return [event.global_step for event in training_events(attempt)]


def training_events(attempt: AttemptFolder) -> list[MetricsEvent]:
    return [e for e in events_of(attempt.events) if isinstance(e, MetricsEvent) and "time/step_s" in e.values]


def events_of(spool: Path) -> list[Event]:
    reader = SpoolReader(spool)
    events: list[Event] = []
    while more := reader.read():
        events += more
    return events
