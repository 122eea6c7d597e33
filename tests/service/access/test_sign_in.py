"""A person comes in with a key once; then a cookie that no page can read stands for it."""

import re

import httpx
import pytest
from fastapi import FastAPI

from service.app import create_app
from service.jobs.access import Scope
from service.queue.keys import KeyRegister
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from tests.service.access.conftest import GiveKey, Open
from tests.service.in_process import serving

FROM_HERE = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture
def browser(client_with: Open) -> httpx.Client:
    return client_with(**FROM_HERE)


@pytest.fixture
def signed_in(browser: httpx.Client, give_key: GiveKey) -> httpx.Client:
    answer = browser.post("/sign-in", data={"key": give_key(Scope.SUBMIT, name="ada"), "next": "/models"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/models")
    return browser


def test_a_page_without_a_session_is_the_page_to_sign_in(browser: httpx.Client) -> None:
    page = browser.get("/jobs/abc?refresh=5")
    assert page.status_code == 401
    assert page.headers["content-type"].startswith("text/html")
    assert 'action="/sign-in"' in page.text
    assert 'value="/jobs/abc?refresh=5"' in page.text
    assert "Sign out" not in page.text


def test_a_key_opens_a_session_whose_cookie_no_page_can_read(browser: httpx.Client, give_key: GiveKey) -> None:
    key = give_key(Scope.READ)
    answer = browser.post("/sign-in", data={"key": f" {key} "})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert re.match(r"sdcn_session=sdcn_[0-9a-f]{12}_", cookie)
    assert {"HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"} <= set(cookie.split("; "))
    assert key not in cookie
    assert "Sign out" in browser.get("/").text
    assert browser.get("/v1/jobs").status_code == 200


def test_over_https_the_cookie_goes_nowhere_else(client_with: Open, give_key: GiveKey) -> None:
    with client_with(**FROM_HERE) as client:
        answer = client.post("https://localhost/sign-in", data={"key": give_key(Scope.READ)})
    assert "; Secure" in answer.headers["set-cookie"]


@pytest.mark.parametrize("key", ["", "sdcn_", "sdcn_0123456789ab_" + "A" * 43, "x" * 200])
def test_a_wrong_key_is_told_and_opens_nothing(browser: httpx.Client, key: str) -> None:
    page = browser.post("/sign-in", data={"key": key, "next": "/models"})
    assert page.status_code == 401
    assert "not known" in page.text
    assert 'name="next" value="/models"' in page.text
    assert "set-cookie" not in page.headers
    assert not key or key not in page.text.replace("<code>sdcn_</code>", "")


def test_signing_in_leads_nowhere_else(browser: httpx.Client, give_key: GiveKey) -> None:
    key = give_key(Scope.READ)
    for away in ("//evil.test", "/\\evil.test", "https://evil.test", "javascript:x", "/a\r\nX: 1", ""):
        answer = browser.post("/sign-in", data={"key": key, "next": away})
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), away


def test_signing_out_ends_the_session_here_and_in_the_database(signed_in: httpx.Client) -> None:
    cookie = signed_in.cookies["sdcn_session"]
    answer = signed_in.post("/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert "sdcn_session" not in signed_in.cookies
    assert signed_in.get("/v1/jobs", headers={"Cookie": f"sdcn_session={cookie}"}).status_code == 401


def test_a_revoked_key_ends_its_sessions(signed_in: httpx.Client, register: KeyRegister, app: FastAPI) -> None:
    (key,) = register.page(limit=10).keys
    register.revoke(key.key_id)
    app.state.key_ring.forget()
    assert signed_in.get("/").status_code == 401


def test_a_session_may_do_what_its_key_may(signed_in: httpx.Client) -> None:
    assert signed_in.post("/v1/jobs", json={"kind": "train", "preset": "tiny"}).status_code == 202
    page = signed_in.get("/v1/keys")
    assert page.status_code == 403


ELSEWHERE: tuple[dict[str, str], ...] = (
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "", "Origin": "http://evil.test"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    {"Origin": "http://evil.test"},
    {"Origin": "null"},
    {},
)
"""what a browser says of a page of another site; the last says nothing"""


def test_a_page_elsewhere_changes_nothing_with_the_cookie(signed_in: httpx.Client, app: FastAPI) -> None:
    del signed_in.headers["Sec-Fetch-Site"]
    for headers in ELSEWHERE:
        for path in ("/submit", "/v1/jobs", "/sign-out", "/jobs/0/cancel", "/v1/jobs/0/pause", "/nowhere"):
            answer = signed_in.post(path, headers=headers, json={"kind": "train", "preset": "tiny"})
            assert answer.status_code == 403, (headers, path)
    queue: JobQueue = app.state.queue
    assert queue.page(limit=1).jobs == ()
    assert signed_in.get("/v1/jobs").status_code == 200
    assert signed_in.post("/v1/jobs/0/pause", headers={"Origin": "http://localhost"}).status_code == 404


def test_another_site_signs_nobody_in(client_with: Open, give_key: GiveKey) -> None:
    with client_with(Accept="text/html") as client:
        answer = client.post("/sign-in", data={"key": give_key(Scope.READ)}, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


def test_an_open_service_has_no_use_for_it(settings_open: ServiceSettings) -> None:
    with serving(create_app(settings_open)) as transport, httpx.Client(transport=transport) as client:
        answer = client.get("http://localhost/sign-in")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert client.get("http://localhost/v1/keys").status_code == 200
