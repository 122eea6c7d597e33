"""Webhooks: who is told when a job comes to a state, and what became of each message."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import Field

from service.api.dependencies import NO_PARAMETERS, Parameters, SettingsDep, WebhooksDep
from service.api.documentation import problems
from service.api.same_site import SAME_SITE
from service.api.strict_json import StrictJsonRoute
from service.errors import FieldProblem, WebhookNotFound, WebhookRefused
from service.jobs.states import DeliveryState
from service.jobs.webhook_answers import (
    DeliveryList,
    DeliveryRead,
    WebhookCreated,
    WebhookList,
    WebhookRead,
    WebhookSpec,
)
from service.queue.webhook_records import Delivery, Webhook
from service.webhooks.addresses import is_public, literal
from service.webhooks.signing import new_secret

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"], route_class=StrictJsonRoute)

_ID = re.compile(r"[0-9a-f]{1,32}")


class DeliveryParameters(Parameters):
    state: DeliveryState | None = None
    """none: all"""
    limit: int = Field(default=50, ge=1, le=200)
    before: int | None = Field(default=None, ge=1, le=2**63 - 1)
    """next_before of the page before"""


async def _webhook_id(webhook_id: Annotated[str, Path(max_length=64)]) -> str:
    if _ID.fullmatch(webhook_id) is None:
        raise WebhookNotFound(f"no webhook has the id {webhook_id!r}; GET /v1/webhooks lists them")
    return webhook_id


WebhookId = Annotated[str, Depends(_webhook_id)]


@router.post(
    "",
    status_code=201,
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(
        _400="the body is no JSON",
        _403="another site sent it",
        _409="as many are registered as there may be",
        _413="the body is too large",
        _422="the webhook is not valid, or its address may not be reached",
    ),
)
def add_webhook(spec: WebhookSpec, webhooks: WebhooksDep, settings: SettingsDep, response: Response) -> WebhookCreated:
    """Have an address called whenever a job comes to one of these states. The answer has the secret, this once, by
    which the receiver verifies signatures as Standard Webhooks describes.
    """
    address = literal(urlsplit(spec.url).hostname or "")
    if address is not None and not is_public(address) and not settings.webhook_allow_private:
        sentence = f"{address} is no public address: take another, or set SDCN_WEBHOOK_ALLOW_PRIVATE"
        raise WebhookRefused(sentence, (FieldProblem("url", sentence),))
    secret = new_secret()
    webhook = webhooks.add(spec.url, spec.events, secret=secret)
    response.headers["Location"] = f"/v1/webhooks/{webhook.webhook_id}"
    return WebhookCreated(**dict(_describe(webhook)), secret=secret)


@router.get("", dependencies=[NO_PARAMETERS])
def list_webhooks(webhooks: WebhooksDep) -> WebhookList:
    """All webhooks, with how many messages each has had, waits for, and has missed for good."""
    return WebhookList(webhooks=tuple(map(_describe, webhooks.all())))


@router.get("/{webhook_id}", dependencies=[NO_PARAMETERS], responses=problems(_404="no such webhook"))
def get_webhook(webhook_id: WebhookId, webhooks: WebhooksDep) -> WebhookRead:
    """A webhook, without its secret."""
    return _describe(webhooks.get(webhook_id))


@router.get("/{webhook_id}/deliveries", responses=problems(_404="no such webhook", _422="a parameter is not valid"))
def list_deliveries(
    webhook_id: WebhookId, parameters: Annotated[DeliveryParameters, Query()], webhooks: WebhooksDep
) -> DeliveryList:
    """What a webhook was told, or is to be told, newest first: how often it was tried, and what went wrong."""
    page = webhooks.deliveries(webhook_id, state=parameters.state, limit=parameters.limit, before=parameters.before)
    return DeliveryList(deliveries=tuple(map(_describe_delivery, page.deliveries)), next_before=page.following)


@router.delete(
    "/{webhook_id}",
    status_code=204,
    dependencies=[NO_PARAMETERS, SAME_SITE],
    responses=problems(_403="another site sent it", _404="no such webhook"),
)
def remove_webhook(webhook_id: WebhookId, webhooks: WebhooksDep) -> None:
    """Forget a webhook, with what it was still to be told."""
    webhooks.remove(webhook_id)


def _describe(webhook: Webhook) -> WebhookRead:
    return WebhookRead(
        id=webhook.webhook_id,
        url=webhook.url,
        events=webhook.states,
        created_at=webhook.created_at,
        pending=webhook.counts.get(DeliveryState.PENDING, 0),
        delivered=webhook.counts.get(DeliveryState.DELIVERED, 0),
        dead=webhook.counts.get(DeliveryState.DEAD, 0),
    )


def _describe_delivery(delivery: Delivery) -> DeliveryRead:
    return DeliveryRead(
        id=delivery.delivery_id,
        message_id=delivery.message_id,
        type=delivery.type,
        job_id=delivery.job_id,
        state=delivery.state,
        tries=delivery.tries,
        next_try_at=delivery.next_try_at,
        last_status=delivery.last_status,
        last_error=delivery.last_error,
        created_at=delivery.created_at,
        ended_at=delivery.ended_at,
    )
