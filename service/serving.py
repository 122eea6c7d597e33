"""The server of the API: uvicorn, which ends open streams before it waits for its connections."""

import socket

import uvicorn
from fastapi import FastAPI


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
