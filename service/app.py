"""The API as an ASGI application; nothing is built at import time."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from service.api import (
    artifacts,
    audit,
    datasets,
    health,
    jobs,
    keys,
    metrics,
    models,
    operations,
    presets,
    study_runs,
    watching,
    webhooks,
)
from service.api.body_limit import BodyLimit
from service.api.documentation import document_problems
from service.api.gate import Gate
from service.api.http_figures import HttpMeter
from service.api.key_ring import KeyRing
from service.api.lingering import LingeringClose
from service.api.metrics import Figures
from service.api.middleware import RequestScope
from service.api.problems import handle_problems
from service.api.readiness import Readiness
from service.models import ModelCatalogue
from service.predictor import Predictor
from service.queue.audit import AuditLog
from service.queue.database import open_database
from service.queue.datasets import DatasetRegister
from service.queue.event_log import EventLog
from service.queue.figures import QueueCounter
from service.queue.keys import KeyRegister
from service.queue.migrations import upgrade
from service.queue.outbox import Outbox
from service.queue.repository import JobQueue
from service.queue.webhooks import WebhookRegister
from service.registry import ModelRegistry
from service.run_files.series import SeriesReader
from service.settings import ServiceSettings
from service.watching.watcher import Watcher
from service.web import mount
from service.webhooks.courier import Courier
from service.webhooks.sender import Sender


def create_app(settings: ServiceSettings) -> FastAPI:
    """The API on the queue that `settings` name. The database is connected, and migrated, when the server starts.

    Raises:
        UnknownDatabase: the database URL is of a kind the queue does not speak.
    """
    engine = open_database(settings.queue_url)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        upgrade(settings.queue_url)
        sender = Sender(allow_private=settings.webhook_allow_private, timeout_s=settings.webhook_timeout_s)
        courier = asyncio.create_task(Courier(Outbox(engine), sender).run(), name="courier")
        yield
        courier.cancel()
        await asyncio.wait([courier])
        engine.dispose()

    app = FastAPIOffline(  # its /docs brings Swagger's files along, so that it shows without internet too
        docs_url="/docs",
        redoc_url=None,
        title="SDCN",
        version="1",
        summary="Weakly supervised object detection as a service: SDCN trained from image labels",
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.queue = JobQueue(engine)
    app.state.datasets = DatasetRegister(engine)
    app.state.readiness = Readiness(settings, app.state.queue)
    app.state.figures = Figures(QueueCounter(engine))
    app.state.series = SeriesReader()
    app.state.events = EventLog(engine)
    app.state.watcher = Watcher(app.state.events, max_streams=settings.max_streams)
    app.state.webhooks = WebhookRegister(engine)
    app.state.keys = KeyRegister(engine)
    app.state.key_ring = KeyRing(app.state.keys)
    app.state.audit = AuditLog(engine)
    app.state.models = ModelCatalogue(app.state.queue, settings.checkpoint_storage)
    app.state.registry = ModelRegistry(settings.mlflow_tracking_uri)
    token = settings.predictor_token
    app.state.predictor = Predictor(
        settings.predictor_url, None if token is None else token.get_secret_value(), settings.predictor_timeout_s
    )
    handle_problems(app)
    predicting = re.compile(models.PREDICT_PATH)
    app.add_middleware(
        BodyLimit, max_bytes=settings.max_body_bytes, exceptions={predicting: settings.max_predict_bytes}
    )
    app.add_middleware(Gate, keys=app.state.key_ring, is_open=settings.is_open)
    app.add_middleware(RequestScope, hosts=settings.accepted_hosts)
    app.add_middleware(LingeringClose)
    app.add_middleware(HttpMeter, figures=app.state.figures.http)
    for room in (jobs, operations, study_runs, watching, artifacts, datasets, models, presets, webhooks, keys, audit):
        app.include_router(room.router)
    app.include_router(health.router)
    app.include_router(metrics.router)
    document_problems(app)
    mount(app)
    return app
