"""The predictor at work: the models' shelf behind a server, until a signal."""

import signal
import threading
from types import FrameType

import structlog
import torch
import uvicorn

from sdcn_core.inference.predictor import Predictor
from workers.predictor.app import create_app
from workers.predictor.models import ModelShelf
from workers.predictor.settings import PredictorSettings

log = structlog.get_logger()

GRACE_S = 10
"""from the signal until requests that are under way are broken off"""


class _Server(uvicorn.Server):
    """uvicorn, which tells requests under way that the end is near."""

    def __init__(self, config: uvicorn.Config, stopping: threading.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def leave(self, _number: int, _frame: FrameType | None) -> None:
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Nothing is logged here: the signal may have come while a line was being written.
        self._stopping.set()
        super().handle_exit(sig, frame)


def serve(settings: PredictorSettings) -> int:
    """Serve until a signal; the exit status."""
    device = torch.device(settings.predictor_device)
    if device.type == "cuda" and not torch.cuda.is_available():
        log.error("settings.refused", variable="SDCN_PREDICTOR_DEVICE", reason="torch finds no GPU here")
        return 2
    if settings.predictor_threads is not None:
        torch.set_num_threads(settings.predictor_threads)
    if settings.predictor_hosts is None and settings.predictor_token is None:
        log.warning("predictor.open", reason="anybody who reaches the port may use it: set SDCN_PREDICTOR_TOKEN")
    stopping = threading.Event()
    shelf = ModelShelf(
        settings.runs,
        max_models=settings.predictor_max_models,
        max_bytes=settings.predictor_max_models_bytes,
        load=lambda path: Predictor.load(path, device=device, search_side_px=settings.predictor_search_side_px),
    )
    config = uvicorn.Config(
        create_app(settings, shelf, stopping),
        host=settings.predictor_host,
        port=settings.predictor_port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=GRACE_S,
    )
    server = _Server(config, stopping)
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has served; by then there is nothing left to do but leave.
        signal.signal(number, server.leave)
    with config.bind_socket() as listener:  # it says why and exits with 1 where the port is taken
        listener.listen(config.backlog)  # from here on a client waits instead of being refused
        host, port = listener.getsockname()[:2]
        log.info("predictor.listening", host=host, port=port, home=str(settings.home), device=str(device))
        server.run(sockets=[listener])
    log.info("predictor.stopped")
    return 0 if server.started else 1
