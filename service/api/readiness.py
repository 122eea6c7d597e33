"""Everything that the service stands on, each asked with a time limit of its own, all at once."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio
import httpx
from anyio import CapacityLimiter

from service.api.time_limit import asked_within, given_within
from service.disk import free_bytes
from service.errors import ServiceError
from service.jobs.health_answers import ComponentName, ComponentRead, ComponentState
from service.queue.records import QueueHealth, Worker
from service.queue.repository import JobQueue
from service.settings import ServiceSettings

LIMIT_S: Final = 1.5
"""with all else below the two seconds that probes commonly wait"""
INDISPENSABLE: Final = frozenset({ComponentName.DATABASE, ComponentName.DISK})
"""without them no job can be taken in; all else may be down, and jobs wait"""


@dataclass(frozen=True)
class Found:
    """What one look has found."""

    components: Mapping[ComponentName, ComponentRead]
    health: QueueHealth | None
    """None: the database is down"""

    @property
    def takes_jobs(self) -> bool:
        return all(self.components[name].state is not ComponentState.DOWN for name in INDISPENSABLE)


class Readiness:
    """Asks.

    Args:
        settings: where everything is.
        queue: the database.
        transport: something else than the network, for tests.
    """

    def __init__(
        self, settings: ServiceSettings, queue: JobQueue, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._transport = transport
        self._threads = CapacityLimiter(4)
        self._thread_of_store = CapacityLimiter(1)

    async def look(self) -> Found:
        """Ask all at once; done after LIMIT_S, whatever is down."""
        found: dict[ComponentName, ComponentRead] = {}
        health: list[QueueHealth] = []

        async def database() -> str | None:
            health.append(await asked_within(LIMIT_S, self._queue.health, self._threads))
            return None

        async def ask(name: ComponentName, question: Callable[[], Awaitable[str | None]]) -> None:
            found[name] = await _answered(name, question)

        questions: dict[ComponentName, Callable[[], Awaitable[str | None]]] = {
            ComponentName.DATABASE: database,
            ComponentName.DISK: self._disk,
            ComponentName.WORKERS: partial(self._of_workers, _living),
            ComponentName.RAY: partial(self._of_workers, _reached),
            ComponentName.MLFLOW: partial(self._http, self._settings.mlflow_tracking_uri, "/health"),
            ComponentName.PREDICTOR: partial(self._http, self._settings.predictor_url, "/healthz"),
            ComponentName.CHECKPOINTS: self._checkpoints,
        }
        async with anyio.create_task_group() as tasks:
            for name, question in questions.items():
                tasks.start_soon(ask, name, question)
        return Found({name: found[name] for name in ComponentName if name in found}, health[0] if health else None)

    async def _of_workers(self, judge: Callable[[tuple[Worker, ...]], str | None]) -> str | None:
        return judge(await asked_within(LIMIT_S, self._queue.workers, self._threads))

    async def _disk(self) -> str | None:
        free = await asked_within(LIMIT_S, partial(free_bytes, self._settings.home), self._threads)
        if free is not None and free < self._settings.min_free_bytes:
            raise Down(
                f"{free} bytes are free where SDCN_HOME lies, fewer than SDCN_MIN_FREE_BYTES"
                f" ({self._settings.min_free_bytes}): free some space"
            )
        return None if free is None else f"{free} bytes are free"

    async def _checkpoints(self) -> str | None:
        if self._settings.checkpoints_url is None:
            raise Unused
        # A store may keep a thread waiting for minutes, and must not keep it from what else is asked.
        await asked_within(LIMIT_S, self._settings.checkpoint_storage.ask, self._thread_of_store)
        return None

    async def _http(self, url: str | None, path: str) -> str | None:
        if url is None or not url.startswith(("http://", "https://")):
            raise Unused
        async with httpx.AsyncClient(transport=self._transport, trust_env=False, timeout=LIMIT_S) as client:
            answer = await given_within(LIMIT_S, client.get(url.rstrip("/") + path))
        if not answer.is_success:
            raise Down(f"it answers with status {answer.status_code}")
        return None


def _living(workers: tuple[Worker, ...]) -> str:
    if not workers:
        raise Down("no worker beats: start `python -m workers`, or see in its log why it ended")
    return f"{len(workers)} of them"


def _reached(workers: tuple[Worker, ...]) -> str | None:
    """Ray, as the workers see it: this process never speaks to it."""
    if not workers:
        raise Unused
    lost = [worker.worker_id for worker in workers if worker.capacity is None]
    if lost:
        raise Down(f"of {len(workers)} workers these have not heard from their cluster: {', '.join(lost[:5])}")
    return None


class Down(ServiceError):
    """It was asked, and cannot do its work; the message says why."""


class Unused(Exception):
    """The settings name none."""


async def _answered(name: ComponentName, question: Callable[[], Awaitable[str | None]]) -> ComponentRead:
    began = anyio.current_time()
    try:
        state, detail = ComponentState.UP, await question()
    except Unused:
        state, detail = ComponentState.UNUSED, None
    except ServiceError as error:
        state, detail = ComponentState.DOWN, error.detail
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        state, detail = ComponentState.DOWN, f"it does not answer ({type(error).__name__})"
    return ComponentRead(name=name, state=state, detail=detail, seconds=round(anyio.current_time() - began, 3))
