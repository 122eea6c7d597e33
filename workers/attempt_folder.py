"""The files of one attempt below <home>/runs/<job_id>/attempt-<n>/, and what is written in them.

These files are all that the supervisor and its child say to each other, so either may die at any point.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from service.checkpoint_storage import CheckpointStorage
from service.jobs.budgets import Spent
from service.jobs.specs import JobSpec
from service.jobs.states import FailureReason
from workers.processes import SessionRecord

OUTCOME_UNWRITTEN = os.EX_IOERR
"""exit status of a child that came to its end and could not write how: the disk is full, or failed"""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class RayOrder(_Record):
    """How the child reaches Ray."""

    address: str
    """`local` or host:port"""
    auth_mode: Literal["token", "disabled"]
    start_timeout_s: float
    num_cpus: int | None
    checkpoints_to_keep: int


class AttemptOrder(_Record):
    """Everything the child needs to know: spec.json."""

    job_id: str
    attempt: int
    spec: JobSpec
    """resolved"""
    spent: Spent = Spent()
    """what earlier attempts have used up"""
    home: Path
    data_root: Path
    weights_root: Path
    scratch: Path
    """a private folder on this host with a short path (sockets lie in it); the supervisor removes it"""
    ray: RayOrder
    checkpoints_url: str | None = None
    """as in CheckpointStorage"""

    @property
    def storage(self) -> CheckpointStorage:
        return CheckpointStorage(self.home / "runs", self.checkpoints_url)

    def is_last_before(self, reason: FailureReason) -> bool:
        """Whether none would follow if this attempt failed for the reason."""
        if reason.budget is None:
            return True
        limits = {"max_attempts": self.spec.max_attempts, "max_lost_attempts": self.spec.max_lost_attempts}
        return self.spent.and_one(reason.budget).is_used_up(reason.budget, **limits)


class Succeeded(_Record):
    status: Literal["succeeded"] = "succeeded"
    results: dict[str, JsonValue]
    artifacts: dict[str, Path] = {}


class Failed(_Record):
    status: Literal["failed"] = "failed"
    reason: FailureReason
    message: str
    """one sentence for a client: the cause and the way out, no traceback"""


class Stopped(_Record):
    """The attempt ended early because it was asked to."""

    status: Literal["stopped"] = "stopped"


Outcome = Succeeded | Failed | Stopped
_OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Annotated[Outcome, Field(discriminator="status")])


class RunFolder:
    """The files of one job, over all its attempts."""

    def __init__(self, home: Path, job_id: str) -> None:
        self.path = home.resolve() / "runs" / job_id
        self.artifacts = self.path / "artifacts"

    def attempt(self, number: int) -> "AttemptFolder":
        return AttemptFolder(self.path / f"attempt-{number}")

    def attempts(self) -> list["AttemptFolder"]:
        """The attempts that left files, first to last."""
        return attempts_in(self.path)


class AttemptFolder:
    """The files of one attempt."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.order = path / "spec.json"
        self.events = path / "events.jsonl"
        self.stop = path / "stop"
        self.outcome = path / "outcome.json"
        self.findings = path / "findings.json"
        """how training came to its end, in the words of its first process"""
        self.log = path / "log.txt"
        self.session = path / "session.json"
        self.ray_job = path / "ray_job.txt"
        """Ray's own id of the child as a driver, by which what it left in a shared cluster is found"""
        self.work = path / "work"
        """scratch files of the training processes; removed with the attempt's end"""

    @property
    def number(self) -> int:
        return int(self.path.name.removeprefix("attempt-"))

    @property
    def run_path(self) -> Path:
        return self.path.parent

    def write_order(self, order: AttemptOrder) -> None:
        write_atomically(self.order, order.model_dump_json(indent=2))

    def read_order(self) -> AttemptOrder:
        return AttemptOrder.model_validate_json(self.order.read_bytes())

    def write_outcome(self, outcome: Outcome) -> None:
        write_atomically(self.outcome, outcome.model_dump_json(indent=2))

    def read_outcome(self) -> Outcome | None:
        """How the attempt ended in its own words; None where it did not come to say."""
        try:
            return _OUTCOME.validate_json(self.outcome.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def write_session(self, record: SessionRecord) -> None:
        write_atomically(self.session, record.model_dump_json())

    def read_session(self) -> SessionRecord | None:
        """The process session the attempt ran in; None where it never started."""
        try:
            return SessionRecord.model_validate_json(self.session.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def read_ray_job(self) -> str | None:
        try:
            return self.ray_job.read_text().strip() or None
        except FileNotFoundError:
            return None


def attempts_in(run_path: Path) -> list[AttemptFolder]:
    """The attempts that left files in the folder of a job, or of a run of a study, first to last."""
    return sorted((AttemptFolder(path) for path in run_path.glob("attempt-*")), key=lambda folder: folder.number)


def write_atomically(path: Path, text: str) -> None:
    """Readers see the whole text or what was there before, and once it returns the text, also after a power cut."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # the name, too, is on the disk from here on
    finally:
        os.close(folder)
