"""Every error is a problem document that names what is wrong, and none shows the inside."""

import json
import re

import httpx
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from service.jobs.answers import Problem
from service.queue.repository import JobQueue

JSON = {"Content-Type": "application/json"}


def problem(answer: httpx.Response, status: int) -> Problem:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    found = Problem.model_validate_json(answer.content)
    assert (found.status, found.request_id) == (status, answer.headers["X-Request-ID"])
    return found


def test_an_unknown_place_is_a_problem(api: httpx.Client) -> None:
    assert "/nowhere" in problem(api.get("/nowhere"), 404).detail


def test_a_wrong_method_is_told_the_right_ones(api: httpx.Client) -> None:
    answer = api.delete("/v1/jobs")
    assert "GET, POST" in problem(answer, 405).detail
    assert answer.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"preset": "tiny", "colour": 1}, "colour"),
        ({"preset": "tiny", "max_attempts": 0}, "max_attempts"),
        ({"preset": "tiny", "max_attempts": "many"}, "max_attempts"),
        ({"preset": "tiny", "priority": 101}, "priority"),
        ({"preset": "tiny", "name": "a/b"}, "name"),
        ({"preset": "tiny", "resources": {"num_workers": 65}}, "resources.num_workers"),
        ({"kind": "dance", "preset": "tiny"}, "kind"),
        ({"kind": "sweep", "preset": "tiny"}, ""),
        ({"preset": "unheard-of"}, "preset"),
        ({"experiment": {"schedule": {"backbone": {"steps": -1}}}}, "experiment.schedule.backbone.steps"),
        ({"experiment": {"model": {"backbone": {"kind": "small_vgg", "x": 1}}}}, "experiment.model.backbone.x"),
        ({"experiment": {"data": {"source": {"kind": "voc", "path": "../x"}}}}, "experiment.data.source.path"),
        ({"preset": "tiny", "overrides": {"objective.tau_0": 0}}, "overrides.objective.tau_0"),
        ({}, ""),
        ([], ""),
        ("tiny", ""),
        (None, ""),
    ],
)
def test_a_wrong_job_names_the_field(api: httpx.Client, body: object, field: str) -> None:
    found = problem(api.post("/v1/jobs", content=json.dumps(body), headers=JSON), 422)
    assert field in [error.field for error in found.errors]
    assert all(error.message for error in found.errors)


@pytest.mark.parametrize(
    "body",
    [
        b'{"preset": NaN}',
        b'{"overrides": {"objective.tau_0": -Infinity}}',
        b'{"preset": "tiny", "preset": "scenes"}',
        b"[" * 100_000,
        b'{"overrides": {"a": ' + b"[" * 70 + b"]" * 70 + b"}}",
        b'{"priority": ' + b"9" * 5000 + b"}",
        b'{"preset": "tiny"',
        b"\xff\xfe",
    ],
)
def test_what_is_no_json_is_refused_before_it_is_looked_at(api: httpx.Client, body: bytes) -> None:
    assert "cannot be read as JSON" in problem(api.post("/v1/jobs", content=body, headers=JSON), 400).detail


@pytest.mark.parametrize(
    "body",
    [
        b'{"\\ud800": "\\ud800", "preset": "\\udfff"}',
        b'{"kind": "train", "preset": "\\udfff"}',
    ],
)
def test_half_a_character_is_refused_by_name(api: httpx.Client, body: bytes) -> None:
    assert "half of a surrogate pair" in problem(api.post("/v1/jobs", content=body, headers=JSON), 422).detail


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_a_foreign_page_could_send_is_refused(api: httpx.Client, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    found = problem(api.post("/v1/jobs", content=b'{"preset": "tiny"}', headers=headers), 422)
    assert "application/json" in found.detail


def test_a_body_that_announces_too_much_is_not_read(api: httpx.Client) -> None:
    assert "1048576" in problem(api.post("/v1/jobs", content=b"x" * 1_048_577, headers=JSON), 413).detail


def test_a_body_that_grows_too_large_in_pieces_is_cut_off(api: httpx.Client) -> None:
    endless = (b"x" * 65536 for _ in range(17))
    answer = api.post("/v1/jobs", content=endless, headers=JSON)
    assert "content-length" not in answer.request.headers
    problem(answer, 413)


def test_a_defect_shows_an_id_and_not_the_inside(
    api: httpx.Client, jobs: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_job_id: str) -> None:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(jobs, "get", fail)
    with capture_logs() as events:
        answer = api.get("/v1/jobs/abc")
    problem(answer, 500)
    assert "secret" not in answer.text
    assert {"event": "request.failed", "exc_info": True, "log_level": "error"} in events


def test_the_id_of_a_request_is_the_clients_if_it_is_harmless(api: httpx.Client) -> None:
    assert api.get("/healthz", headers={"X-Request-ID": "mine-1"}).headers["X-Request-ID"] == "mine-1"
    for odd in ("a b", "x" * 65, "<script>"):
        assert api.get("/healthz", headers={"X-Request-ID": odd}).headers["X-Request-ID"] != odd


def test_a_request_under_a_foreign_name_is_refused(api: httpx.Client) -> None:
    problem(api.get("/v1/jobs", headers={"Host": "attacker.example:8000"}), 421)
    for name in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert api.get("/v1/jobs", headers={"Host": name}).status_code == 200


def test_every_answer_carries_its_security_headers(api: httpx.Client) -> None:
    for path in ("/healthz", "/nowhere"):
        headers = api.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_openapi_describes_errors_as_problems(api: httpx.Client, app: FastAPI) -> None:
    document = api.get("/openapi.json").json()
    for path in document["paths"].values():
        for operation in path.values():
            for status, answer in operation["responses"].items():
                if status == "default" or status >= "400":
                    assert list(answer["content"]) == ["application/problem+json"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_the_documentation_page_needs_nothing_from_elsewhere(api: httpx.Client) -> None:
    page = api.get("/docs")
    assert page.status_code == 200
    assert "https://" not in page.text
    files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert files
    assert {api.get(file).status_code for file in files} == {200}


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://elsewhere.example"}, {"Origin": "http://[x"}]
)
@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/jobs/ffff/cancel", "/v1/models/ffff/predict"])
def test_what_a_foreign_page_has_a_browser_send_is_refused(
    api: httpx.Client, path: str, headers: dict[str, str]
) -> None:
    found = problem(api.post(path, content=b"{}", headers={**JSON, **headers}), 403)
    assert "this service's own pages" in found.detail
