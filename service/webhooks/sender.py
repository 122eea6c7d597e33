"""One try at telling one receiver: bounded in time and size, and only where it may go."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus

import httpx

from service.queue.webhook_records import DueDelivery
from service.webhooks.addresses import Address, is_public, resolve
from service.webhooks.signing import signed_headers

Resolve = Callable[[str, int], Awaitable[Sequence[Address]]]

USER_AGENT = "sdcn-webhooks/1"
PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Tried:
    """How a try came out."""

    status: int | None
    """of the answer; None: there was none"""
    error: str | None
    """why the receiver has not got it; None: it has"""

    @property
    def is_gone(self) -> bool:
        """Whether the receiver says that nobody shall ask again."""
        return self.status == HTTPStatus.GONE


class Sender:
    """Posts messages. It connects to the very address that it has checked, so a name that changes meanwhile leads
    nowhere else; it follows no redirect, asks no proxy, and reads nothing of the answer but its status.

    Args:
        allow_private: whether loopback and private networks may be reached.
        timeout_s: for all of a try, from the name to the answer's status.
        find: looks names up.
    """

    def __init__(self, *, allow_private: bool, timeout_s: float, find: Resolve = resolve) -> None:
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._find = find

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        """Made when it is needed: most services have no webhook, and it reads all certificates there are."""
        # A connection that is kept would be known by its address alone, and a certificate is checked for a name.
        no_reuse = httpx.Limits(max_keepalive_connections=0)
        return httpx.AsyncClient(trust_env=False, follow_redirects=False, timeout=self._timeout_s, limits=no_reuse)

    async def close(self) -> None:
        if "_http" in vars(self):
            await self._http.aclose()

    async def send(self, delivery: DueDelivery) -> Tried:
        """Try once; never raises for what a receiver or the network does."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._send(delivery)
        except TimeoutError:
            return Tried(None, f"no answer within {self._timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return Tried(None, f"{type(error).__name__}: {error}"[:500])

    async def _send(self, delivery: DueDelivery) -> Tried:
        url = httpx.URL(delivery.url)
        found = await self._find(url.host, url.port or PORTS[url.scheme])
        allowed = [address for address in found if self._allow_private or is_public(address)]
        if not allowed:
            where = ", ".join(map(str, found))
            return Tried(None, f"{url.host} leads to {where}, which is no public address (SDCN_WEBHOOK_ALLOW_PRIVATE)")
        request = self._http.build_request(
            "POST",
            url.copy_with(host=str(allowed[0])),
            content=delivery.body.encode(),
            headers={
                "Host": url.netloc.decode("ascii"),
                "Content-Type": "application/json",
                "User-Agent": USER_AGENT,
                **signed_headers(delivery.secret, delivery.message_id, int(time.time()), delivery.body),
            },
            extensions={"sni_hostname": url.raw_host.decode("ascii")},
        )
        answer = await self._http.send(request, stream=True)
        await answer.aclose()
        if answer.is_success:
            return Tried(answer.status_code, None)
        return Tried(answer.status_code, f"it answered {answer.status_code}")
