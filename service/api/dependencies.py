"""What endpoints are handed: settings, the queue, the Idempotency-Key, a job's id."""

import re
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict

from service.errors import JobNotFound
from service.queue.repository import JobQueue
from service.settings import ServiceSettings

_JOB_ID = re.compile(r"[0-9a-f]{1,32}")


class Parameters(BaseModel):
    """Parameters after the `?`: an unknown one is refused, as a misspelt filter would answer another question."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


async def _no_parameters(parameters: Annotated[Parameters, Query()]) -> None:
    """Refuse all query parameters."""


NO_PARAMETERS = Depends(_no_parameters)


async def _settings(request: Request) -> ServiceSettings:
    settings: ServiceSettings = request.app.state.settings
    return settings


async def _queue(request: Request) -> JobQueue:
    queue: JobQueue = request.app.state.queue
    return queue


async def _job_id(job_id: Annotated[str, Path(max_length=64)]) -> str:
    if _JOB_ID.fullmatch(job_id) is None:
        raise JobNotFound(f"no job has the id {job_id!r}; GET /v1/jobs lists them")
    return job_id


async def _idempotency_key(
    key: Annotated[
        str | None,
        Header(
            alias="Idempotency-Key",
            min_length=1,
            max_length=255,
            pattern=r"^[\x20-\x7e]+$",
            description="a key of your choice: sending the request again with it cannot make a second job",
        ),
    ] = None,
) -> str | None:
    return key


SettingsDep = Annotated[ServiceSettings, Depends(_settings)]
QueueDep = Annotated[JobQueue, Depends(_queue)]
JobId = Annotated[str, Depends(_job_id)]
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
