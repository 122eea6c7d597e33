"""What somebody means ill by sends, to a service that has a job at work and asks for no key: each request is refused
with a problem, leaves nothing behind, and the job goes on and ends well.

Hostile files are tried where files are read: tests/sdcn_core/data (annotations, images, pickles, links), .../models
(weights, saved models), .../training (checkpoints, states) and tests/workers/predictor (uploads).
"""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import inspect

from service.app import create_app
from service.jobs.answers import Problem
from service.jobs.specs import TrainSpec
from service.jobs.states import JobState
from service.queue.database import open_database
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from tests.service.api.test_jobs import RESULTS, start
from tests.service.conftest import enqueue
from tests.service.server import listening
from tests.service.watching.streams import opened

MAX_STREAMS = 20
MANY_CLIENTS = 500
HUGE = 100 * 2**20
JSON = {"Content-Type": "application/json"}
SAID = (
    "'; DROP TABLE job; --",
    "' OR '1'='1",
    "1); DELETE FROM job WHERE (1=1",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned #",
    "| touch pwned",
    "{{ 7 * 7 }}",
    "<script>alert(1)</script>",
    "../../../../etc/passwd",
    "..\\..\\secret",
    "%2e%2e%2f",
    "a\r\nSet-Cookie: evil=1",
    "a\x00b",
    "😀" * 3000,
)
"""SQL, shell, templates, pages, paths, headers, too much"""
BODIES = (
    b"[" * 200_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"preset": "\xff\xfe"}',
    b'{"preset": "\xed\xa0\x80"}',
    b"\xef\xbb\xbf{}",
    b'{"preset": "tiny", "preset": "tiny"}',
    b'{"preset": "tiny", "priority": NaN}',
    b'{"preset": "tiny", "priority": ' + b"9" * 100_000 + b"}",
    b"PK\x03\x04" + b"\x00" * 1000,
    b"",
)
"""too deep, no UTF-8, half a surrogate, a mark, a name twice, no number, too long a one, an archive, nothing"""


@dataclass(frozen=True)
class Attacked:
    url: str
    app: FastAPI
    job_id: str

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)

    def connect(self) -> socket.socket:
        parts = urlsplit(self.url)
        return socket.create_connection((parts.hostname, parts.port), timeout=60)


@pytest.fixture
def attacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Attacked]:
    """Its job is at work, and ends well afterwards, as a client is told that has watched it all the time."""
    monkeypatch.chdir(tmp_path)
    settings = ServiceSettings(home=tmp_path / "home", open_on_loopback=True, max_streams=MAX_STREAMS)
    app = create_app(settings)
    queue: JobQueue = app.state.queue
    with listening(app) as url:
        httpx.get(f"{url}/healthz", timeout=60).raise_for_status()
        job_id = enqueue(queue, TrainSpec(preset="tiny").resolve()).job_id
        claim = start(queue)
        with opened(f"{url}/v1/jobs/{job_id}/events") as events:
            next(events)
            yield Attacked(url, app, job_id)
            queue.heartbeat(claim, lease_s=60)
            queue.settle(claim, Settlement.succeeded(RESULTS))
            assert list(events)[-1] == {"event": "end", "data": '{"state":"succeeded"}'}
        assert httpx.get(f"{url}/v1/jobs/{job_id}", timeout=60).json()["state"] == JobState.SUCCEEDED
    assert list(tmp_path.rglob("pwned")) == []
    assert "job" in inspect(open_database(settings.queue_url)).get_table_names()


def refused(answer: httpx.Response, *statuses: int) -> Problem:
    """The problem; it tells nothing of the inside, and no header is the sender's."""
    assert answer.status_code in statuses or (not statuses and 400 <= answer.status_code < 500), answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "evil" not in answer.headers.get("Set-Cookie", "")
    assert "Traceback" not in answer.text
    assert "site-packages" not in answer.text
    return Problem.model_validate_json(answer.content)


def jobs_to_submit(said: str) -> Iterator[dict[str, Any]]:
    """A job for each place in it where a client may write."""
    tiny: dict[str, Any] = {"kind": "train", "preset": "tiny"}
    yield tiny | {"kind": said}
    yield tiny | {"preset": said}
    yield tiny | {"name": said}
    yield tiny | {said: 1}
    yield tiny | {"priority": said}
    yield tiny | {"after": [said]}
    yield tiny | {"overrides": {said: 1}}
    yield tiny | {"overrides": {"model.backbone.weights": {"path": said, "sha256": said}}}
    yield tiny | {"overrides": {"data.source": {"kind": "voc", "path": "set", "train_split": said}}}
    yield tiny | {"overrides": {"data.source": {"kind": "voc", "path": "set", "classes": [said]}}}
    yield tiny | {"overrides": {"data.source": {"kind": "registered", "name": said}}}
    yield tiny | {"overrides": {"data.proposals": {"kind": "file", "path": said}}}
    yield {"kind": "ablation", "preset": "tiny", "study": said}
    yield {"kind": "ablation", "preset": "tiny", "variants": [{"name": said}]}
    yield {"kind": "evaluate", "model": {"job": said}}
    yield {"kind": "predict", "model": {"job": said}, "folder": said}


def test_whatever_is_written_into_a_field_of_a_job_is_refused_by_the_name_of_the_field(attacked: Attacked) -> None:
    with attacked.client() as client:
        for said in SAID:
            for body in jobs_to_submit(said):
                problem = refused(client.post("/v1/jobs", json=body), 422)
                assert problem.errors, body
        assert [job["id"] for job in client.get("/v1/jobs").json()["jobs"]] == [attacked.job_id]


def test_whatever_is_written_into_an_address_is_refused_or_is_not_there(attacked: Attacked) -> None:
    places = (
        "/v1/jobs/{}",
        "/v1/jobs/{}/events",
        "/v1/jobs/{}/artifacts/x",
        f"/v1/jobs/{attacked.job_id}/artifacts/{{}}",
        *("/v1/datasets/{}", "/v1/models/{}", "/v1/webhooks/{}", "/v1/keys/{}", "/static/{}", "/{}"),
    )
    asked = ("state", "kind", "cursor", "limit", "name", "sort", "run")
    with attacked.client() as client:
        for said in SAID:
            for place in places:
                answer = client.get(place.format(quote(said[:500], safe="")))
                assert 400 <= answer.status_code < 500, (place, said)
                assert b"root:" not in answer.content
            for name in asked:
                refused(client.get("/v1/jobs", params={name: said[:500]}), 400, 422)
                refused(client.get("/v1/audit", params={"subject": said[:500], name: said[:500]}), 422)


def test_whatever_is_written_into_a_header_comes_back_in_none(attacked: Attacked) -> None:
    names = ("X-Request-ID", "Idempotency-Key", "Last-Event-ID", "Range", "Accept", "Cookie", "Authorization", "Origin")
    with attacked.client() as client:
        for said in SAID:
            value = said.replace("\r\n", " ").replace("\x00", " ").encode()[:2000]
            for name in names:
                answer = client.get("/v1/jobs", headers={name: value})
                assert answer.status_code < 500, (name, said)
                assert value not in b"\n".join(part for pair in answer.headers.raw for part in pair)


def test_a_request_that_ends_its_headers_twice_is_one_answer_without_the_senders_headers(attacked: Attacked) -> None:
    for line in (b"X-Request-ID: a\rSet-Cookie: evil=1", b"X-Request-ID: a\nSet-Cookie: evil=1", b"X\x00Y: 1", b" : x"):
        with attacked.connect() as connection:
            connection.sendall(
                b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + line + b"\r\n\r\n"
            )
            head = all_of(connection).partition(b"\r\n\r\n")[0]
        assert head.startswith(b"HTTP/1.1 ")
        assert b"set-cookie" not in head.lower()


def test_a_body_that_is_no_sound_json_is_refused(attacked: Attacked) -> None:
    with attacked.client() as client:
        for body in BODIES:
            for path in ("/v1/jobs", "/v1/datasets", "/v1/webhooks", "/v1/keys"):
                refused(client.post(path, content=body, headers=JSON), 400, 422)


def test_a_hundred_megabytes_are_refused_unread_whether_they_are_announced_or_not(attacked: Attacked) -> None:
    part = b" " * 2**16
    for length, sent in (
        (f"Content-Length: {HUGE}", part),
        ("Transfer-Encoding: chunked", b"10000\r\n" + part + b"\r\n"),
    ):
        with attacked.connect() as connection:
            connection.sendall(f"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode())
            with suppress(ConnectionError):  # what is sent after the answer is thrown away, for some seconds
                for _ in range(HUGE // 2**16):
                    connection.sendall(sent)
            assert connection.recv(2**16).startswith(b"HTTP/1.1 413 ")


def test_five_hundred_clients_that_hold_streams_open_keep_nobody_else_out(attacked: Attacked) -> None:
    ask = f"GET /v1/jobs/{attacked.job_id}/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
    with ExitStack() as stack:
        held = [stack.enter_context(attacked.connect()) for _ in range(MANY_CLIENTS)]
        for connection in held:
            connection.sendall(ask.encode())
        statuses = [connection.recv(12) for connection in held]
        assert statuses.count(b"HTTP/1.1 200") == MAX_STREAMS - 1  # one is held by who watches the job
        assert statuses.count(b"HTTP/1.1 503") == MANY_CLIENTS - MAX_STREAMS + 1
        with attacked.client() as client:
            assert client.get("/v1/jobs").status_code == 200
            assert client.post("/v1/jobs", json={"kind": "train", "preset": "tiny"}).status_code == 202
    wait_until_streams_are_left(attacked.app, 1)


def test_clients_that_never_finish_their_request_keep_nobody_out(attacked: Attacked) -> None:
    with ExitStack() as stack:
        for _ in range(MANY_CLIENTS):
            stack.enter_context(attacked.connect()).sendall(b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-")
        with attacked.client() as client:
            assert client.get("/v1/jobs").status_code == 200


def all_of(connection: socket.socket) -> bytes:
    found = b""
    while part := connection.recv(2**16):
        found += part
    return found


def wait_until_streams_are_left(app: FastAPI, number: int) -> None:
    deadline = time.monotonic() + 60
    while app.state.watcher.num_streams > number:
        assert time.monotonic() < deadline
        time.sleep(0.05)
