"""Where runs are recorded for people to compare, as the supervisor sees it; and what is recorded under which name."""

from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict

from service.queue.records import Claim
from workers.attempt_folder import write_atomically

JOB_TAG = "sdcn.job_id"
"""by which a job's run is found again"""
ATTEMPT_TAG = "sdcn.attempt"
DIGEST_TAG = "sdcn.config_digest"
NAME_TAG = "sdcn.name"
STATE_TAG = "sdcn.state"
FAILURE_TAG = "sdcn.failure"


class TrackedRun(BaseModel):
    """What must be known about a job to record it, kept in its folder: whoever finds the folder can deliver."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job_id: str
    name: str
    config_digest: str
    created_at_ms: int
    parameters: dict[str, str]


class TrackingFiles:
    """Where a run keeps what is recorded about it and how far that has been delivered."""

    def __init__(self, run_path: Path) -> None:
        self.folder = run_path / "tracking"
        self.run = self.folder / "run.json"
        """exists while something may be left to deliver"""
        self.delivered = self.folder / "run.delivered.json"
        """what `run` becomes when nothing is"""
        self.state = self.folder / "state.json"
        self.lock = self.folder / "lock"


def describe(claim: Claim, run_path: Path) -> None:
    """Write down what a job is, so that its run can be recorded, now or after everybody here has died."""
    files = TrackingFiles(run_path)
    files.folder.mkdir(parents=True, exist_ok=True)
    experiment = claim.spec.resolved_experiment
    resources = {
        f"resources.{name}": str(value) for name, value in claim.spec.resources.model_dump(mode="json").items()
    }
    tracked = TrackedRun(
        job_id=claim.job_id,
        name=claim.spec.name or claim.job_id,
        config_digest=experiment.digest(),
        created_at_ms=round(claim.created_at.timestamp() * 1000),
        parameters=experiment.flat() | resources,
    )
    write_atomically(files.run, tracked.model_dump_json(indent=2))


class ExperimentLog(Protocol):
    """Records runs from their spools. No call waits for whoever keeps the records, but `flush`, which has a limit."""

    def begin(self, claim: Claim, run_path: Path) -> None:
        """An attempt starts: deliver what it says from now on."""
        ...

    def flush(self, job_id: str, *, timeout_s: float) -> bool:
        """Wait until all that was said so far is delivered, or delivery failed, or time is up; whether it was."""
        ...

    def ended(self, job_id: str) -> None:
        """The attempt is over and settled: deliver the rest, and close the run if the job is over too."""
        ...

    def close(self, *, timeout_s: float) -> None:
        """Stop delivering; what is left waits on disk."""
        ...


class NullLog:
    """Records nothing."""

    def begin(self, claim: Claim, run_path: Path) -> None: ...

    def flush(self, job_id: str, *, timeout_s: float) -> bool:
        return True

    def ended(self, job_id: str) -> None: ...

    def close(self, *, timeout_s: float) -> None: ...
