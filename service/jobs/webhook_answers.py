"""Webhooks as they are asked for, answered, and told: one set of models for the API, the client and receivers."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from service.jobs.answers import Answer
from service.jobs.states import DeliveryState, JobState

ENDS = (JobState.CANCELLED, JobState.FAILED, JobState.SUCCEEDED)


def _http(url: str) -> str:
    if any(ord(character) <= 32 or ord(character) == 127 for character in url):
        raise ValueError("it has blanks or control characters; write them as %20 and the like")
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError as error:
        raise ValueError(f"it is no address: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_good:
        raise ValueError("it must be an address such as https://example.org/hook")
    if parts.username is not None or parts.password is not None:
        raise ValueError("it must hold no user and no password: messages are signed, so the receiver knows the sender")
    if parts.fragment:
        raise ValueError("it must have no part behind #: that part is never sent")
    if not url.isascii():
        raise ValueError("it must be ASCII: write the host in punycode, and other characters as %C3%A4 and the like")
    return url


def _once(states: tuple[JobState, ...]) -> tuple[JobState, ...]:
    if len(set(states)) < len(states):
        raise ValueError("a state stands twice")
    return states


class WebhookSpec(BaseModel):
    """Who is to be told of what."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url: Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_http)]
    """where messages are posted to"""
    events: Annotated[tuple[JobState, ...], AfterValidator(_once)] = Field(default=ENDS, min_length=1)
    """the states of which it is told when a job comes to them; when left out, the ends of jobs"""


class WebhookRead(Answer):
    """A registered webhook; its secret was shown when it was made."""

    id: str
    url: str
    events: tuple[JobState, ...]
    created_at: AwareDatetime
    pending: int
    """messages that are still to be delivered"""
    delivered: int
    """in the last seven days"""
    dead: int
    """given up in the last thirty days"""


class WebhookCreated(WebhookRead):
    secret: str
    """by which the receiver verifies signatures; it is shown this once"""


class WebhookList(Answer):
    webhooks: tuple[WebhookRead, ...]
    """oldest first"""


class DeliveryRead(Answer):
    id: int
    message_id: str
    """what the header webhook-id says, at every try"""
    type: str
    """such as job.succeeded"""
    job_id: str
    state: DeliveryState
    tries: int
    next_try_at: AwareDatetime | None
    """null: there is none"""
    last_status: int | None
    """of the receiver's latest answer; null: there was none"""
    last_error: str | None
    """why the latest try did not succeed"""
    created_at: AwareDatetime
    ended_at: AwareDatetime | None
    """delivered, or given up"""


class DeliveryList(Answer):
    deliveries: tuple[DeliveryRead, ...]
    """newest first"""
    next_before: int | None
    """`before` of the next page; null: this was the last"""


class JobChange(Answer):
    """One change of a job's state."""

    event_id: int
    """as in the job's events: larger than that of every earlier change of the job"""
    job_id: str
    kind: str
    name: str | None
    attempt: int
    from_state: JobState | None
    """null: the job was made"""
    to_state: JobState
    note: str | None
    url: str
    """path of the job below the service"""


class WebhookMessage(Answer):
    """The body of a message. It may arrive more than once, and later than one that was written after it: webhook-id
    tells a second copy, data.event_id the order.
    """

    type: Annotated[str, Field(pattern=r"job\.[a-z_]+")]
    timestamp: AwareDatetime
    """when the job changed"""
    data: JobChange
