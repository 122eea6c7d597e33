"""Logging of every process of the service: structlog events, also from libraries; JSON lines unless a person reads.

No line shows a secret: what the environment or a secret's file names as one, the password of any URL, and keys that
the service gave out are blotted out of the finished line, whoever wrote it.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from typing import Any, TextIO
from urllib.parse import unquote

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service.secret_files import secret_variables
from service.tokens import TOKEN

BLOT = "***"
SHORTEST_SECRET = 6
"""of a shorter one every other line would be blotted"""
_SECRET_NAMES = re.compile(r"(PASSWORD|TOKEN|SECRET|_KEY)$")
_URL_NAMES = re.compile(r"_(URL|URI)$")
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^\s/@:\"'\\]*):[^\s/@\"'\\]+@")
_PASSWORD_OF_URL = re.compile(r"^[^/:]+://[^/@:]*:([^@]+)@")
"""with slashes too, which databases' URLs may have there"""


def _drop_color_message(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn says everything twice, once with terminal codes
    return event


def set_up_logging(
    *, level: int = logging.INFO, stream: TextIO | None = None, fields: Mapping[str, str | int] | None = None
) -> None:
    """Send structlog's and the standard library's events to `stream` (stderr), one line each, with UTC times.

    What was bound with `structlog.contextvars` (request_id, job_id) is on every line of the same context, and `fields`
    on every line of the process, whichever thread writes it.
    """
    out = sys.stderr if stream is None else stream
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _drop_color_message,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    if out.isatty():
        rendered: list[Processor] = [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    else:
        rendered = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    handler = logging.StreamHandler(out)
    handler.setLevel(level)
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _Fields(fields or {}),
            *rendered,
            _Blotter(_secrets_in(os.environ) | _secrets_in(secret_variables())),
        ],
        foreign_pre_chain=shared,
    )
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # uvicorn's access lines would double ours, alembic and httpx tell of every step they take
    for name in ("uvicorn.access", "alembic", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)


class _Fields:
    """A processor: what is said of the whole process, unless the line says otherwise."""

    def __init__(self, fields: Mapping[str, str | int]) -> None:
        self._fields = fields

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for name, value in self._fields.items():
            event.setdefault(name, value)
        return event


class _Blotter:
    """The last processor: hides secrets in the finished line, so that no field and no traceback is forgotten."""

    def __init__(self, secrets: frozenset[str]) -> None:
        written = secrets | {json.dumps(secret)[1:-1] for secret in secrets}
        longest_first = sorted(written, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, _logger: WrappedLogger, _method: str, line: Any) -> str:  # noqa: ANN401 - as the renderer left it
        text = _PASSWORD_IN_URL.sub(rf"\1:{BLOT}@", str(line))
        text = TOKEN.sub(rf"sdcn_\1_{BLOT}", text)  # its id may be seen: it names the key in the audit too
        return text if self._secrets is None else self._secrets.sub(BLOT, text)


def _secrets_in(environment: Mapping[str, str]) -> frozenset[str]:
    """What the environment's names say to be secret: passwords, tokens and keys, and the passwords of its URLs."""
    found: set[str] = set()
    for name, value in environment.items():
        if _SECRET_NAMES.search(name):
            found.add(value)
        elif _URL_NAMES.search(name) and (url := _PASSWORD_OF_URL.match(value)) is not None:
            found |= {url[1], unquote(url[1])}
    return frozenset(secret for secret in found if len(secret) >= SHORTEST_SECRET)
