"""The log of this process, for a test to read."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from service.logging import set_up_logging


@contextmanager
def logged(*, level: int = logging.INFO) -> Iterator[io.StringIO]:
    """What is logged within the block, as the service would write it; afterwards logging is as it was before."""
    root = logging.getLogger()
    handlers, root_level, configuration = root.handlers, root.level, structlog.get_config()
    stream = io.StringIO()
    set_up_logging(level=level, stream=stream)
    # A logger that was cached would stay as it is now, also for the tests to come.
    structlog.configure(cache_logger_on_first_use=False)
    try:
        yield stream
    finally:
        root.handlers = handlers
        root.setLevel(root_level)
        structlog.configure(**configuration)
