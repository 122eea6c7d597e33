"""Whether the process lives, and whether it can do its work."""

from fastapi import APIRouter
from pydantic import BaseModel

from service.api.dependencies import NO_PARAMETERS, QueueDep
from service.api.documentation import problems
from service.jobs.states import JobState

router = APIRouter(tags=["health"], dependencies=[NO_PARAMETERS])


class Alive(BaseModel):
    status: str = "alive"


class Ready(BaseModel):
    status: str = "ready"
    jobs: dict[JobState, int]
    """how many are in each state"""
    oldest_waiting_s: float | None
    """how long the oldest claimable job has been waiting; large where no worker runs"""


@router.get("/healthz")
async def alive() -> Alive:
    """Whether the process answers at all; asks nobody else."""
    return Alive()


@router.get("/readyz", responses=problems(_503="the database does not answer"))
def ready(queue: QueueDep) -> Ready:
    """Whether jobs can be taken in; 503 names what is down. Workers may be down: jobs wait for them."""
    health = queue.health()
    return Ready(jobs=health.counts, oldest_waiting_s=health.oldest_waiting_s)
