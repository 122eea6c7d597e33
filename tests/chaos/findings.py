"""What must hold whatever was killed: each check says what is broken, in sentences; none means that all is well."""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from service.jobs.states import FailureReason
from service.queue.records import Job, JobEvent
from tests.chaos.clients import Asked
from tests.chaos.subject import Subject
from tests.integration.sweep_attempts import events_of, training_steps
from workers.attempt_folder import AttemptFolder
from workers.processes import MARK
from workers.spool import ResumedEvent
from workers.tracking.tracked_run import JOB_TAG, TrackingFiles

EXPERIMENT = "sdcn"


def lost_jobs(asked: Iterable[Asked], jobs: Mapping[str | None, Job]) -> Iterator[str]:
    """Every acknowledged job is there, under its key. `asked` is what had been answered before the jobs were read."""
    for one in asked:
        if one.job_id is not None and (one.key not in jobs or jobs[one.key].job_id != one.job_id):
            yield f"job {one.job_id} was acknowledged and is not there"


def doubled_jobs(asked: Iterable[Asked], jobs: Iterable[Job]) -> Iterator[str]:
    """At the end there are no others than those that were asked for."""
    known = {one.job_id for one in asked}
    yield from (f"job {job.job_id} was made for nobody" for job in jobs if job.job_id not in known)


def broken_trail(job_id: str, events: Sequence[JobEvent]) -> Iterator[str]:
    """A job's trail is one way without a gap, with one end at most."""
    states = [None, *(event.to_state for event in events)]
    if [event.from_state for event in events] != states[:-1]:
        yield f"job {job_id}: its trail has a gap"
    ends = [event.to_state for event in events if event.to_state.is_terminal]
    if len(ends) > 1:
        yield f"job {job_id} has ended {len(ends)} times: {', '.join(ends)}"


def unfinished(job: Job, events: Sequence[JobEvent]) -> Iterator[str]:
    """Of a job at the end: it has ended, as its trail says, and so have its attempts."""
    if not job.state.is_terminal:
        yield f"job {job.job_id} is {job.state}, and was to end"
    if events[-1].to_state is not job.state:
        yield f"job {job.job_id} is {job.state}, and its trail says {events[-1].to_state}"
    yield from (
        f"attempt {attempt.attempt} of job {job.job_id} has no end" for attempt in job.attempts if not attempt.ended_at
    )


def wrongly_charged(job: Job, killed_children: Collection[tuple[str, int]]) -> Iterator[str]:
    """Whose child was not killed has lost its attempt to what surrounds it, and is charged for nothing of its own."""
    for attempt in job.attempts:
        if attempt.exit_reason is FailureReason.CRASHED and (job.job_id, attempt.attempt) not in killed_children:
            yield f"attempt {attempt.attempt} of job {job.job_id} is called a crash of its own: {attempt.message}"


@dataclass(frozen=True)
class Resumption:
    """An attempt that trained on where others had trained before."""

    job_id: str
    attempt: int
    began_at: int
    """global step of the checkpoint; 0: it began anew"""
    told_before: int
    """the furthest global step that an earlier attempt has told of"""

    @property
    def steps_lost(self) -> int:
        return max(0, self.told_before - self.began_at)


def resumptions(job_id: str, attempts: Iterable[AttemptFolder]) -> Iterator[Resumption]:
    """Of one job, by the words of its attempts, first to last."""
    told = 0
    for attempt in attempts:
        steps = training_steps(attempt)
        resumed = [event.global_step for event in events_of(attempt.events) if isinstance(event, ResumedEvent)]
        if told and steps:
            yield Resumption(job_id, attempt.number, resumed[0] if resumed else 0, told)
        told = max([told, *steps])


def too_many_steps_lost(found: Iterable[Resumption], *, interval: int) -> Iterator[str]:
    for one in found:
        if one.steps_lost > interval:
            yield (
                f"attempt {one.attempt} of job {one.job_id} began at step {one.began_at}, though step"
                f" {one.told_before} had been told: {one.steps_lost} lost, and a checkpoint is due every {interval}"
            )


def wrong_runs(subject: Subject, jobs: Iterable[Job]) -> Iterator[str]:
    """MLflow has one run of each job that has begun, closed, and no others."""
    client = MlflowClient(tracking_uri=subject.embedded.record.mlflow_url)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    runs: list[Run] = (
        [] if experiment is None else list(client.search_runs([experiment.experiment_id], max_results=5000))
    )
    by_job = Counter(run.data.tags.get(JOB_TAG) for run in runs)
    for job in jobs:
        files = TrackingFiles(subject.run(job.job_id).path)
        begun = files.run.exists() or files.delivered.exists()
        if by_job[job.job_id] != begun:
            yield f"job {job.job_id} has {by_job[job.job_id]} runs in MLflow, and should have {int(begun)}"
    for run in runs:
        if run.info.status == "RUNNING":
            yield f"MLflow's run {run.info.run_id} of job {run.data.tags.get(JOB_TAG)} is still RUNNING"


def taken_resources(usage: Mapping[str, float]) -> Iterator[str]:
    """Nothing trains, so nothing of the cluster is taken."""
    if usage["free"] != usage["total"]:
        yield f"{usage['total'] - usage['free']:g} of {usage['total']:g} CPUs were not given back to Ray"
    if usage["groups"]:
        yield f"{usage['groups']:g} placement groups are left in Ray"
    if usage["actors"]:
        yield f"{usage['actors']:g} processes of trainings are left in Ray"


def processes_of_attempts(home: Path) -> Iterator[str]:
    """No attempt is at work, so no process of one is left."""
    jobs = {path.name for path in (home / "runs").glob("*")}
    for process, environment in _environments():
        if environment.get(MARK, "").partition("/")[0] in jobs:
            yield f"process {_named(process)} of attempt {environment[MARK]} is left"


def processes_of(home: Path) -> Iterator[str]:
    """The service has ended, so nobody works in its home."""
    for process, environment in _environments():
        if environment.get("SDCN_HOME") == str(home):
            yield f"process {_named(process)} of the service is left"


def _environments() -> Iterator[tuple[psutil.Process, dict[str, str]]]:
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                yield process, process.environ()
        except (psutil.Error, OSError):
            continue


def _named(process: psutil.Process) -> str:
    try:
        return f"{process.pid} ({' '.join(process.cmdline())[:80]})"
    except psutil.Error:
        return str(process.pid)
