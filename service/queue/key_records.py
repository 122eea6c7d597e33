"""What the queue hands out about keys: plain frozen data, no secret but that of a key just made."""

from dataclasses import dataclass
from datetime import datetime

from service.jobs.access import Scope
from service.queue.callers import Caller


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret; times are aware UTC."""

    key_id: str
    name: str
    scope: Scope
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    max_queued_jobs: int | None
    max_running_gpus: int | None
    requests_per_s: float | None


@dataclass(frozen=True)
class KeyPage:
    keys: tuple[ApiKey, ...]
    following: str | None
    """id of the last, behind which the next page begins; None: this was the last"""


@dataclass(frozen=True)
class Pass:
    """What a token that is good lets its bearer do."""

    caller: Caller
    expires_at: datetime | None
    """None: it does not"""
