"""The server of the API: uvicorn, which ends open streams before it waits for its connections, and listens to other
machines only where somebody has a key.
"""

import socket

import uvicorn
from fastapi import FastAPI

from service.errors import ServiceError
from service.queue.database import open_database
from service.queue.keys import KeyRegister
from service.queue.migrations import upgrade
from service.settings import ServiceSettings


class Server(uvicorn.Server):
    """As uvicorn's, but a stream, which has no end of its own, does not keep it from stopping.

    Args:
        config: whose application is `app`.
        app: made by create_app.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.watcher.close()
        await super().shutdown(sockets)


class Unguarded(ServiceError):
    """The API would listen to other machines while nobody could give out keys."""


def refuse_unguarded(settings: ServiceSettings) -> None:
    """Nothing where only this machine can reach the API, or somebody has a key of scope admin.

    Raises:
        Unguarded: it would be reached by others, and there is no such key.
        DatabaseUnavailable: nobody can say.
    """
    if settings.on_loopback:
        return
    upgrade(settings.queue_url)
    engine = open_database(settings.queue_url)
    try:
        if not KeyRegister(engine).has_usable_admin():
            raise Unguarded(
                f"SDCN_API_HOST={settings.api_host} can be reached by other machines, and no key of scope admin is"
                " there to let anybody in: make one with `python -m service.keys create NAME --scope admin`, or listen"
                " on 127.0.0.1"
            )
    finally:
        engine.dispose()
