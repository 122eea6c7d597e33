"""The first page: every job, newest first, and how the queue is doing."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from service.api.cursors import read_cursor, write_cursor
from service.api.dependencies import Parameters, QueueDep, SettingsDep
from service.api.schemas import summarize
from service.jobs.specs import KINDS
from service.jobs.states import JobState
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from service.web.headlines import headline
from service.web.rendering import RenderDep

router = APIRouter(include_in_schema=False)

PAGE_LENGTH = 25
LIVE_MS = 2000
IDLE_MS = 10_000
"""between looks while every job has ended and only a new one could change the list"""
LONG_WAIT_S = 60.0
"""a job that could be claimed for so long is a sign that no worker runs, or that all are busy"""

GROUPS: dict[str, tuple[JobState, ...]] = {
    "waiting": (JobState.QUEUED, JobState.BLOCKED, JobState.RETRY_WAIT),
    "paused": (JobState.PAUSED,),
    "at work": (JobState.CLAIMED, JobState.STARTING, JobState.RUNNING, JobState.STOPPING),
    "succeeded": (JobState.SUCCEEDED,),
    "failed": (JobState.FAILED,),
    "cancelled": (JobState.CANCELLED,),
}


class ListParameters(Parameters):
    state: list[JobState] = Field(default_factory=list, max_length=len(JobState))
    kind: Literal["train", "ablation", "sweep", "evaluate", "predict", "second_stage", "check_data"] | None = None
    cursor: str | None = Field(default=None, min_length=1, max_length=200)


@dataclass(frozen=True)
class Choice:
    """A filter to click on."""

    label: str
    url: str
    chosen: bool
    count: int | None = None


@router.get("/")
def show_jobs(
    parameters: Annotated[ListParameters, Query()], queue: QueueDep, settings: SettingsDep, render: RenderDep
) -> Response:
    return render("jobs.html", **_context(parameters, queue, settings))


@router.get("/live")
def show_jobs_live(
    parameters: Annotated[ListParameters, Query()], queue: QueueDep, settings: SettingsDep, render: RenderDep
) -> Response:
    """What of the first page changes."""
    return render("jobs_live.html", **_context(parameters, queue, settings))


def _context(parameters: ListParameters, queue: JobQueue, settings: ServiceSettings) -> dict[str, Any]:
    after = None if parameters.cursor is None else read_cursor(parameters.cursor)
    page = queue.page(states=parameters.state, kind=parameters.kind, limit=PAGE_LENGTH, after=after)
    health = queue.health()
    going_on = any(count for state, count in health.counts.items() if not state.is_terminal)
    older = None if page.following is None else write_cursor(page.following)
    waited_s = health.oldest_waiting_s
    return {
        "jobs": [(summarize(job, settings), headline(job)) for job in page.jobs],
        "states": _state_choices(parameters, health.counts),
        "kinds": _kind_choices(parameters),
        "filtered": bool(parameters.state or parameters.kind),
        "total": sum(health.counts.values()),
        "newest_url": _url(parameters, cursor=None) if parameters.cursor else None,
        "older_url": _url(parameters, cursor=older) if older else None,
        "waited_s": waited_s if waited_s is not None and waited_s >= LONG_WAIT_S else None,
        "idle": not health.counts.get(JobState.RUNNING),
        "live_url": _url(parameters, path="/live", cursor=parameters.cursor),
        "every_ms": LIVE_MS if going_on else IDLE_MS,
    }


def _state_choices(parameters: ListParameters, counts: dict[JobState, int]) -> list[Choice]:
    chosen = frozenset(parameters.state)
    everything = Choice("all", _url(parameters, state=()), not chosen, sum(counts.values()))
    return [everything] + [
        Choice(label, _url(parameters, state=states), chosen == set(states), sum(counts.get(s, 0) for s in states))
        for label, states in GROUPS.items()
    ]


def _kind_choices(parameters: ListParameters) -> list[Choice]:
    everything = Choice("any kind", _url(parameters, kind=None), parameters.kind is None)
    return [everything] + [Choice(kind, _url(parameters, kind=kind), parameters.kind == kind) for kind in KINDS]


def _url(parameters: ListParameters, *, path: str = "/", cursor: str | None = None, **changes: Any) -> str:  # noqa: ANN401
    """The list with these parameters but for the changes; another filter begins at its newest job."""
    chosen = {"state": parameters.state, "kind": parameters.kind} | changes
    pairs = [("state", state.value) for state in chosen["state"]]
    pairs += [("kind", chosen["kind"])] if chosen["kind"] else []
    pairs += [("cursor", cursor)] if cursor else []
    return f"{path}?{urlencode(pairs)}" if pairs else path
