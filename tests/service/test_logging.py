import io
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from service.logging import set_up_logging
from service.tokens import Token
from tests.service.logged import logged


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    with logged() as stream:
        yield stream


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


def test_what_is_said_of_the_process_is_on_the_lines_of_every_thread_and_library(stream: io.StringIO) -> None:
    set_up_logging(stream=stream, fields={"job_id": "1a", "attempt": 2})
    threads = [
        threading.Thread(target=structlog.get_logger("ours").info, args=("said",)),
        threading.Thread(target=logging.getLogger("theirs").warning, args=("said",)),
    ]
    for thread in threads:
        thread.start()
        thread.join()
    assert [(line["job_id"], line["attempt"]) for line in lines(stream)] == [("1a", 2)] * 2


def test_what_the_environment_calls_secret_is_on_no_line(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDCN_PREDICTOR_TOKEN", "token-geheim")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", 'pass"geheim')
    monkeypatch.setenv("SDCN_DATABASE_URL", "postgresql://sdcn:url%40geheim@host/queue")
    set_up_logging(stream=stream)
    log = structlog.get_logger()
    log.info("told", token="token-geheim", nested={"password": 'pass"geheim'}, plain="url@geheim")
    try:
        raise ValueError("Bearer token-geheim")
    except ValueError:
        log.exception("failed")
    logging.getLogger("library").error("cannot connect as %s", "url%40geheim")
    assert "geheim" not in stream.getvalue()
    assert len(lines(stream)) == 3


def test_what_a_file_of_secrets_says_is_on_no_line(
    stream: io.StringIO, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDCN_SECRETS", str(tmp_path))
    (tmp_path / "sdcn_database_password").write_text("file-geheim\n")
    (tmp_path / "sdcn_ray_token").write_bytes(b"\xff")
    set_up_logging(stream=stream)
    structlog.get_logger().info("told", plain="file-geheim")
    (line,) = lines(stream)
    assert line["plain"] == "***"


def test_the_password_of_any_url_is_on_no_line(stream: io.StringIO) -> None:
    structlog.get_logger().info("asked", url="http://somebody:geheim@mlflow:5000/x", other="http://host:5000/a@b")
    (line,) = lines(stream)
    assert (line["url"], line["other"]) == ("http://somebody:***@mlflow:5000/x", "http://host:5000/a@b")


def test_a_key_that_the_service_gave_out_is_on_no_line_but_its_id_is(stream: io.StringIO) -> None:
    token = Token.new()
    structlog.get_logger().info("asked", header=f"Bearer {token.text}", cookie=f"sdcn_session={token.text}; a=b")
    (line,) = lines(stream)
    assert token.secret not in stream.getvalue()
    assert (line["header"], line["cookie"]) == (
        f"Bearer sdcn_{token.token_id}_***",
        f"sdcn_session=sdcn_{token.token_id}_***; a=b",
    )
