import re

import httpx
import pytest

from service.queue.repository import JobQueue
from service.web.page_scope import CONTENT_SECURITY_POLICY
from tests.web.examples import Examples


@pytest.mark.parametrize(
    "path", ["/jobs/abc123", "/jobs/no-such-id", "/nowhere", "/jobs/abc123/live", "/static/none.css"]
)
def test_what_is_not_there_is_told_by_a_page(browser_like: httpx.Client, path: str) -> None:
    page = browser_like.get(path)
    assert page.status_code == 404
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "<h1>" in page.text
    assert int(page.headers["content-length"]) == len(page.content)


def test_the_api_keeps_its_problems_whoever_asks(browser_like: httpx.Client) -> None:
    answer = browser_like.get("/v1/jobs/abc123")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["title"] == "No such job"


def test_a_program_that_wants_no_page_gets_none(browser_like: httpx.Client) -> None:
    answer = browser_like.get("/jobs/abc123", headers={"Accept": "application/json"})
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_method_that_is_not_possible_is_told_by_a_page(browser_like: httpx.Client) -> None:
    page = browser_like.put("/submit")
    assert page.status_code == 405
    assert page.headers["content-type"].startswith("text/html")


def test_a_page_under_a_foreign_name_is_refused(browser_like: httpx.Client) -> None:
    page = browser_like.get("/", headers={"Host": "evil.test"})
    assert page.status_code == 421
    assert "does not go by that name" in page.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "", "Origin": "http://evil.test"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    ],
)
@pytest.mark.parametrize("action", ["submit", "cancel"])
def test_a_form_of_another_site_changes_nothing(
    browser_like: httpx.Client, queue: JobQueue, examples: Examples, headers: dict[str, str], action: str
) -> None:
    job = examples.waiting()
    path = "/submit" if action == "submit" else f"/jobs/{job.job_id}/cancel"
    page = browser_like.post(path, data={"work": "train", "preset": "tiny"}, headers=headers)
    assert page.status_code == 403
    assert [(known.job_id, known.state) for known in queue.page(limit=5).jobs] == [(job.job_id, "queued")]


@pytest.mark.parametrize("origin", ["null", "http://evil.test", "http://localhost:9", "nonsense", "http://[x"])
def test_without_the_browsers_word_the_origin_decides(app_client: httpx.Client, origin: str) -> None:
    data = {"work": "train", "preset": "tiny"}
    assert app_client.post("/submit", data=data, headers={"Origin": origin}).status_code == 403
    assert app_client.post("/submit", data=data, headers={"Origin": "http://localhost"}).status_code == 303


def test_pages_forbid_what_they_do_not_need(browser_like: httpx.Client) -> None:
    for path in ("/", "/submit", "/models"):
        headers = browser_like.get(path).headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        # with no-referrer a browser on another host than loopback would send "Origin: null" with our own forms
        assert headers["referrer-policy"] == "same-origin"


def test_the_documentation_keeps_its_own_policy(browser_like: httpx.Client) -> None:
    policy = browser_like.get("/docs").headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "frame-ancestors 'none'" in policy


def test_pages_have_no_inline_script_or_style(browser_like: httpx.Client, examples: Examples) -> None:
    job = examples.trained()
    for path in ("/", "/submit", "/models", f"/jobs/{job.job_id}", "/nowhere"):
        page = browser_like.get(path).text
        assert page.count("<script") == len(re.findall(r'<script src="/static/[a-z]+\.js" defer></script>', page)) > 0
        assert " style=" not in page
        assert "<style" not in page
        assert " on" + "click=" not in page


def test_static_files_are_kept_but_asked_about(browser_like: httpx.Client) -> None:
    first = browser_like.get("/static/style.css")
    assert first.headers["cache-control"] == "no-cache"
    again = browser_like.get("/static/style.css", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("path", ["/static/../mounting.py", "/static/%2e%2e/mounting.py", "/static/..%2fmounting.py"])
def test_nothing_beside_the_static_files_is_served(browser_like: httpx.Client, path: str) -> None:
    assert browser_like.get(path).status_code == 404


def test_a_defect_shows_a_page_without_its_inside(browser_like: httpx.Client, queue: JobQueue) -> None:
    queue.transactions.engine.dispose()
    queue.transactions.engine = None  # type: ignore[assignment]  # what no reader can foresee
    page = browser_like.get("/")
    assert page.status_code == 500
    assert "request" in page.text
    assert "Traceback" not in page.text
    assert "NoneType" not in page.text
