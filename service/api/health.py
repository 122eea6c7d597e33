"""Whether the process lives, and whether it can do its work."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from service.api.dependencies import NO_PARAMETERS
from service.api.documentation import problems
from service.api.readiness import Found, Readiness
from service.errors import FieldProblem, NotReady
from service.jobs.health_answers import ComponentState, Ready

router = APIRouter(tags=["health"], dependencies=[NO_PARAMETERS])


class Alive(BaseModel):
    status: str = "alive"


async def _readiness(request: Request) -> Readiness:
    readiness: Readiness = request.app.state.readiness
    return readiness


@router.get("/healthz")
async def alive() -> Alive:
    """Whether the process answers at all; asks nobody else."""
    return Alive()


@router.get("/readyz", responses=problems(_503="the database does not answer, or its disk is full"))
async def ready(readiness: Annotated[Readiness, Depends(_readiness)]) -> Ready:
    """Whether jobs can be taken in, and what is up and down, within about two seconds. Workers, Ray, MLflow and the
    predictor may be down: jobs wait for them. 503 names in `errors` everything that is down.
    """
    found = await readiness.look()
    if found.health is None or not found.takes_jobs:
        raise _not_ready(found)
    return Ready(
        jobs=found.health.counts,
        oldest_waiting_s=found.health.oldest_waiting_s,
        components=tuple(found.components.values()),
    )


def _not_ready(found: Found) -> NotReady:
    down = [read for read in found.components.values() if read.state is ComponentState.DOWN]
    sentences = "; ".join(f"{read.name}: {read.detail}" for read in down)
    return NotReady(
        f"no job can be taken in: {sentences}", tuple(FieldProblem(read.name, read.detail or "") for read in down)
    )
