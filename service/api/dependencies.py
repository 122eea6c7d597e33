"""What endpoints are handed: settings, the queue and what reads the files of jobs, the Idempotency-Key, a job's id."""

import re
from typing import Annotated

from fastapi import Depends, Header, Path, Query, Request
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from sdcn_core.config.data import Name
from service.api.key_ring import KeyRing
from service.errors import DatasetNotFound, JobNotFound
from service.models import ModelCatalogue
from service.predictor import Predictor
from service.queue.audit import AuditLog
from service.queue.datasets import DatasetRegister
from service.queue.event_log import EventLog
from service.queue.keys import KeyRegister
from service.queue.repository import JobQueue
from service.queue.webhooks import WebhookRegister
from service.registry import ModelRegistry
from service.run_files.series import SeriesReader
from service.settings import ServiceSettings
from service.watching.watcher import Watcher

_JOB_ID = re.compile(r"[0-9a-f]{1,32}")
_NAME = TypeAdapter(Name)


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


async def _datasets(request: Request) -> DatasetRegister:
    datasets: DatasetRegister = request.app.state.datasets
    return datasets


async def _series(request: Request) -> SeriesReader:
    series: SeriesReader = request.app.state.series
    return series


async def _events(request: Request) -> EventLog:
    events: EventLog = request.app.state.events
    return events


async def _watcher(request: Request) -> Watcher:
    watcher: Watcher = request.app.state.watcher
    return watcher


async def _webhooks(request: Request) -> WebhookRegister:
    webhooks: WebhookRegister = request.app.state.webhooks
    return webhooks


async def _keys(request: Request) -> KeyRegister:
    keys: KeyRegister = request.app.state.keys
    return keys


async def _key_ring(request: Request) -> KeyRing:
    ring: KeyRing = request.app.state.key_ring
    return ring


async def _audit(request: Request) -> AuditLog:
    audit: AuditLog = request.app.state.audit
    return audit


async def _models(request: Request) -> ModelCatalogue:
    models: ModelCatalogue = request.app.state.models
    return models


async def _registry(request: Request) -> ModelRegistry:
    registry: ModelRegistry = request.app.state.registry
    return registry


async def _predictor(request: Request) -> Predictor:
    predictor: Predictor = request.app.state.predictor
    return predictor


async def _job_id(job_id: Annotated[str, Path(max_length=64)]) -> str:
    if _JOB_ID.fullmatch(job_id) is None:
        raise JobNotFound(f"no job has the id {job_id!r}; GET /v1/jobs lists them")
    return job_id


async def _dataset_name(name: Annotated[str, Path(max_length=200)]) -> str:
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        raise DatasetNotFound(f"no data set is registered as {name[:100]!r}; GET /v1/datasets lists them") from None


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
DatasetsDep = Annotated[DatasetRegister, Depends(_datasets)]
SeriesDep = Annotated[SeriesReader, Depends(_series)]
EventLogDep = Annotated[EventLog, Depends(_events)]
WatcherDep = Annotated[Watcher, Depends(_watcher)]
WebhooksDep = Annotated[WebhookRegister, Depends(_webhooks)]
KeysDep = Annotated[KeyRegister, Depends(_keys)]
KeyRingDep = Annotated[KeyRing, Depends(_key_ring)]
AuditDep = Annotated[AuditLog, Depends(_audit)]
ModelsDep = Annotated[ModelCatalogue, Depends(_models)]
RegistryDep = Annotated[ModelRegistry, Depends(_registry)]
PredictorDep = Annotated[Predictor, Depends(_predictor)]
JobId = Annotated[str, Depends(_job_id)]
DatasetName = Annotated[str, Depends(_dataset_name)]
IdempotencyKey = Annotated[str | None, Depends(_idempotency_key)]
