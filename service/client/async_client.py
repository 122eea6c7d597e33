"""The client for programs that run in an event loop."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial, update_wrapper
from types import TracebackType
from typing import Concatenate, Final, ParamSpec, Self, TypeVar

import anyio
import httpx

from service.client.client import SdcnClient

P = ParamSpec("P")
T = TypeVar("T")

MAX_AT_ONCE: Final = 64
"""requests and streams of one client that are under way; further ones wait for their turn"""
_END: Final = object()


def _awaited(
    method: Callable[Concatenate[SdcnClient, P], T],
) -> "Callable[Concatenate[AsyncSdcnClient, P], Awaitable[T]]":
    async def in_a_thread(self: "AsyncSdcnClient", /, *args: P.args, **options: P.kwargs) -> T:
        return await self._in_a_thread(partial(method, self._client, *args, **options))

    update_wrapper(in_a_thread, method)
    return in_a_thread


def _iterated(
    method: Callable[Concatenate[SdcnClient, P], Iterator[T]],
) -> "Callable[Concatenate[AsyncSdcnClient, P], AsyncIterator[T]]":
    async def each_in_a_thread(self: "AsyncSdcnClient", /, *args: P.args, **options: P.kwargs) -> AsyncIterator[T]:
        found = method(self._client, *args, **options)
        while (one := await self._in_a_thread(partial(next, found, _END))) is not _END:
            yield one

    update_wrapper(each_in_a_thread, method)
    return each_in_a_thread


class AsyncSdcnClient:
    """SdcnClient with the same methods, awaited, and what it iterates over by `async for`.

    Each request runs in a thread, so that going on after a broken connection, waiting for a service that restarts and
    asking again where streams are cut are the same code for both. A call that is cancelled raises at once; its request
    is let go and ends by itself.

    Args:
        base_url: such as http://127.0.0.1:8000. This machine is never reached through the environment's proxy.
        key: an API key; None: the service is open.
        transport: something else than the network, for tests.

    Raises:
        httpx.InvalidURL: `base_url` is none.
    """

    def __init__(self, base_url: str, *, key: str | None = None, transport: httpx.BaseTransport | None = None) -> None:
        self._client = SdcnClient(base_url, key=key, transport=transport)
        self._room = anyio.CapacityLimiter(MAX_AT_ONCE)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections; what is under way ends with an error."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._client.close)

    async def _in_a_thread(self, call: Callable[[], T]) -> T:
        return await anyio.to_thread.run_sync(call, abandon_on_cancel=True, limiter=self._room)

    submit = _awaited(SdcnClient.submit)
    validate = _awaited(SdcnClient.validate)
    get = _awaited(SdcnClient.get)
    jobs = _iterated(SdcnClient.jobs)
    follow = _iterated(SdcnClient.follow)
    watch = _iterated(SdcnClient.watch)
    results = _awaited(SdcnClient.results)
    runs = _awaited(SdcnClient.runs)
    metrics = _awaited(SdcnClient.metrics)
    table = _awaited(SdcnClient.table)

    cancel = _awaited(SdcnClient.cancel)
    pause = _awaited(SdcnClient.pause)
    resume = _awaited(SdcnClient.resume)
    retry = _awaited(SdcnClient.retry)
    clone = _awaited(SdcnClient.clone)
    set_priority = _awaited(SdcnClient.set_priority)
    delete = _awaited(SdcnClient.delete)

    events = _iterated(SdcnClient.events)
    streamed_events = _iterated(SdcnClient.streamed_events)
    event_page = _awaited(SdcnClient.event_page)
    logs = _iterated(SdcnClient.logs)

    artifacts = _awaited(SdcnClient.artifacts)
    fetch = _awaited(SdcnClient.fetch)
    models = _iterated(SdcnClient.models)
    model = _awaited(SdcnClient.model)
    predict = _awaited(SdcnClient.predict)

    datasets = _iterated(SdcnClient.datasets)
    dataset = _awaited(SdcnClient.dataset)
    add_dataset = _awaited(SdcnClient.add_dataset)
    check_dataset = _awaited(SdcnClient.check_dataset)
    remove_dataset = _awaited(SdcnClient.remove_dataset)
    presets = _awaited(SdcnClient.presets)
    readiness = _awaited(SdcnClient.readiness)

    webhooks = _awaited(SdcnClient.webhooks)
    webhook = _awaited(SdcnClient.webhook)
    add_webhook = _awaited(SdcnClient.add_webhook)
    remove_webhook = _awaited(SdcnClient.remove_webhook)
    deliveries = _iterated(SdcnClient.deliveries)

    keys = _iterated(SdcnClient.keys)
    create_key = _awaited(SdcnClient.create_key)
    revoke_key = _awaited(SdcnClient.revoke_key)
    audit = _iterated(SdcnClient.audit)
