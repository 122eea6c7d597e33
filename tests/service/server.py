import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from service.serving import Server


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """The application on a real port of loopback, in a thread; its address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # from here on a client waits instead of being refused
        server = Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none"), app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
