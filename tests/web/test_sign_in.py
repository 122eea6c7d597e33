"""Coming in and going out, in a real browser, of a service that is not open."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, expect

from service.app import create_app
from service.jobs.access import KeySpec, Scope
from service.queue.keys import KeyRegister
from service.settings import ServiceSettings
from tests.service.server import listening
from tests.web.browser import ACCESSIBLE, Watched, chromium, watch
from tests.web.examples import Examples

REFUSED = "Failed to load resource: the server responded with a status of 401 (Unauthorized)"
"""what the browser says of every page that asks for a key"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def app(settings: ServiceSettings) -> FastAPI:
    return create_app(settings.model_copy(update={"open_on_loopback": False}))


@pytest.fixture
def watched(browser: Browser, app: FastAPI) -> Iterator[Watched]:
    with listening(app) as url:
        context = browser.new_context(viewport={"width": 360, "height": 740})
        watched = watch(context.new_page(), url)
        yield watched
        context.close()
    assert [wrong for wrong in watched.wrongs if wrong != REFUSED] == []


def test_a_person_signs_in_submits_a_job_sees_it_live_and_signs_out(watched: Watched, app: FastAPI) -> None:
    register: KeyRegister = app.state.keys
    page = watched.page
    watched.goto("/submit?preset=tiny")
    _, token = register.create(KeySpec(name="ada", scope=Scope.SUBMIT))
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.type("sdcn_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_text("not known")).to_be_visible()
    page.get_by_label("API key").fill(token.text)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{watched.url}/submit?preset=tiny")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.locator("#live")).to_be_visible()
    assert page.evaluate("document.cookie") == ""
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{watched.url}/sign-in")
    watched.goto("/")
    expect(page.get_by_label("API key")).to_be_visible()


def test_a_page_whose_session_is_over_becomes_the_page_to_sign_in(
    watched: Watched, app: FastAPI, examples: Examples
) -> None:
    register: KeyRegister = app.state.keys
    watched.goto(f"/jobs/{examples.waiting().job_id}")
    made, token = register.create(KeySpec(name="ada", scope=Scope.SUBMIT))
    watched.page.get_by_label("API key").fill(token.text)
    watched.page.keyboard.press("Enter")
    expect(watched.page.get_by_role("button", name="Sign out")).to_be_visible()
    register.revoke(made.key_id)
    app.state.key_ring.forget()
    expect(watched.page.get_by_label("API key")).to_be_visible()


def test_the_page_to_sign_in_is_accessible(watched: Watched) -> None:
    watched.goto("/sign-in")
    assert watched.page.evaluate(ACCESSIBLE) == []


def test_the_documentation_shows_under_its_policy(watched: Watched, app: FastAPI) -> None:
    register: KeyRegister = app.state.keys
    _, token = register.create(KeySpec(name="ada"))
    watched.page.set_extra_http_headers({"Authorization": f"Bearer {token.text}"})
    watched.goto("/docs")
    expect(watched.page.get_by_role("button", name="Authorize").first).to_be_visible()
