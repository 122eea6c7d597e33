"""The API as an ASGI application; nothing is built at import time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from service.api import health, jobs, presets
from service.api.body_limit import BodyLimit
from service.api.documentation import document_problems
from service.api.middleware import RequestScope
from service.api.problems import handle_problems
from service.queue.database import open_database
from service.queue.migrations import upgrade
from service.queue.repository import JobQueue
from service.settings import ServiceSettings


def create_app(settings: ServiceSettings) -> FastAPI:
    """The API on the queue that `settings` name. The database is connected, and migrated, when the server starts.

    Raises:
        UnknownDatabase: the database URL is of a kind the queue does not speak.
    """
    engine = open_database(settings.queue_url)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        upgrade(settings.queue_url)
        yield
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
    handle_problems(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(RequestScope, hosts=settings.accepted_hosts)
    for room in (jobs, presets, health):
        app.include_router(room.router)
    document_problems(app)
    return app
