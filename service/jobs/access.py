"""Keys and the audit as they are asked for and answered: one set of models for the API and the client."""

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from service.jobs.answers import Answer

DAY_S: Final = 86_400


class Scope(StrEnum):
    """What a key may do. Each may do all that those before it may."""

    READ = "read"
    """look: jobs, logs, results, models, metrics"""
    SUBMIT = "submit"
    """make, change and delete jobs and data sets, predict"""
    ADMIN = "admin"
    """give out and revoke keys, read the audit, have addresses called"""

    def covers(self, wanted: "Scope") -> bool:
        scopes = tuple(Scope)
        return scopes.index(self) >= scopes.index(wanted)


class Action(StrEnum):
    """What a client did, as the audit has it: on what, and what."""

    JOB_SUBMIT = "job.submit"
    JOB_CANCEL = "job.cancel"
    JOB_PAUSE = "job.pause"
    JOB_RESUME = "job.resume"
    JOB_RETRY = "job.retry"
    JOB_PRIORITY = "job.priority"
    JOB_DELETE = "job.delete"
    DATASET_ADD = "dataset.add"
    DATASET_CHECK = "dataset.check"
    DATASET_REMOVE = "dataset.remove"
    WEBHOOK_ADD = "webhook.add"
    WEBHOOK_REMOVE = "webhook.remove"
    KEY_CREATE = "key.create"
    KEY_REVOKE = "key.revoke"
    SIGN_IN = "session.open"


KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@\-]{0,63}$")]
"""whose, or what for: letters, digits and _ . @ -"""


class KeySpec(BaseModel):
    """A key that is to be made."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: KeyName
    scope: Scope = Scope.READ
    """what it may do"""
    valid_s: int | None = Field(default=None, ge=60, le=3650 * DAY_S)
    """seconds from now until it expires; null: it does not"""
    max_queued_jobs: int | None = Field(default=None, ge=1, le=1_000_000)
    """jobs of this key that may wait at once; null: any number, as for those below"""
    max_running_gpus: int | None = Field(default=None, ge=0, le=1_000_000)
    """GPUs that its jobs may hold at once; further jobs wait"""
    requests_per_s: float | None = Field(default=None, ge=0.001, le=10_000)
    """requests a second to one process of the API; as many may come at once"""


class KeyRead(Answer):
    """A key without its secret."""

    id: str
    """the second part of the key itself"""
    name: str
    scope: Scope
    created_at: AwareDatetime
    created_by: str
    """the name of the key that made it, or `local`"""
    expires_at: AwareDatetime | None
    revoked_at: AwareDatetime | None
    max_queued_jobs: int | None = None
    max_running_gpus: int | None = None
    requests_per_s: float | None = None


class KeyCreated(KeyRead):
    key: str
    """what clients send as `Authorization: Bearer ...`; it is shown this once"""


class KeyList(Answer):
    keys: tuple[KeyRead, ...]
    """oldest first, those that were revoked too"""
    next_cursor: str | None
    """`cursor` of the next page; null: this was the last"""


class AuditRead(Answer):
    """One thing that a client did."""

    id: int
    at: AwareDatetime
    key_id: str | None
    """null: the service was open, or it was done by a command on the database"""
    key_name: str
    action: Action
    subject: str
    """id of the job, webhook or key, or name of the data set"""
    details: dict[str, Any]
    """what else is to be known, such as a deleted job's kind, name and state"""


class AuditList(Answer):
    entries: tuple[AuditRead, ...]
    """newest first"""
    next_before: int | None
    """`before` of the next page; null: this was the last"""
