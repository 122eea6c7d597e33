import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from service.logging import set_up_logging


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level, configuration = root.handlers, root.level, structlog.get_config()
    stream = io.StringIO()
    set_up_logging(stream=stream)
    yield stream
    root.handlers, root.level = handlers, level
    structlog.configure(**configuration)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_a_line_of_json_with_what_is_bound(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger("a.room").info("job.claimed", job_id="j1")
    (line,) = lines(stream)
    assert (line["event"], line["job_id"], line["request_id"], line["level"]) == ("job.claimed", "j1", "r1", "info")
    assert str(line["timestamp"]).endswith("Z")


def test_lines_of_libraries_look_the_same(stream: io.StringIO) -> None:
    logging.getLogger("uvicorn.error").info("started on %s", "x", extra={"color_message": "\x1b[1mx"})
    (line,) = lines(stream)
    assert (line["event"], line["logger"]) == ("started on x", "uvicorn.error")
    assert "color_message" not in line


def test_a_traceback_is_one_line_too(stream: io.StringIO) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        structlog.get_logger().exception("request.failed")
    (line,) = lines(stream)
    assert "ValueError: two" in str(line["exception"])
