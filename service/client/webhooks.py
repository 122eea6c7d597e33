"""Registering who is told of jobs, and seeing what they were told."""

from collections.abc import Iterator

from service.client.connection import Connection, segment
from service.jobs.states import DeliveryState
from service.jobs.webhook_answers import (
    DeliveryList,
    DeliveryRead,
    WebhookCreated,
    WebhookList,
    WebhookRead,
    WebhookSpec,
)


class Webhooks(Connection):
    """The part of the client that is about webhooks."""

    def webhooks(self) -> tuple[WebhookRead, ...]:
        return self._call(WebhookList, "GET", "/v1/webhooks").webhooks

    def webhook(self, webhook_id: str) -> WebhookRead:
        return self._call(WebhookRead, "GET", f"/v1/webhooks/{segment(webhook_id)}")

    def add_webhook(self, spec: WebhookSpec) -> WebhookCreated:
        """Register one; the answer has its secret, which is never shown again."""
        asked = spec.model_dump(mode="json", exclude_unset=True)
        return self._call(WebhookCreated, "POST", "/v1/webhooks", json=asked)

    def remove_webhook(self, webhook_id: str) -> None:
        """Forget it, with what it was still to be told."""
        with self._understood(self._send("DELETE", f"/v1/webhooks/{segment(webhook_id)}")):
            pass

    def deliveries(
        self, webhook_id: str, *, state: DeliveryState | None = None, page_size: int = 50
    ) -> Iterator[DeliveryRead]:
        """What it was told, or is to be told, newest first; pages are fetched as they are needed."""
        params: dict[str, str | list[str]] = {"limit": str(page_size)}
        if state is not None:
            params["state"] = state.value
        while True:
            path = f"/v1/webhooks/{segment(webhook_id)}/deliveries"
            page = self._call(DeliveryList, "GET", path, params=params)
            yield from page.deliveries
            if page.next_before is None:
                return
            params["before"] = str(page.next_before)
