"""What the queue hands out about webhooks: plain frozen data."""

from dataclasses import dataclass, field
from datetime import datetime

from service.jobs.states import DeliveryState, JobState


@dataclass(frozen=True)
class Webhook:
    webhook_id: str
    url: str
    states: tuple[JobState, ...]
    created_at: datetime
    counts: dict[DeliveryState, int]


@dataclass(frozen=True)
class Delivery:
    """A message to a webhook; times are aware UTC."""

    delivery_id: int
    message_id: str
    type: str
    job_id: str
    state: DeliveryState
    tries: int
    next_try_at: datetime | None
    last_status: int | None
    last_error: str | None
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True)
class DeliveryPage:
    deliveries: tuple[Delivery, ...]
    following: int | None
    """the last id, before which the next page begins; None: this was the last"""


@dataclass(frozen=True)
class DueDelivery:
    """A message that is to be sent now, by whoever has claimed it."""

    delivery_id: int
    webhook_id: str
    message_id: str
    url: str
    secret: str = field(repr=False)
    body: str
    tries: int
    """this one included"""
