"""A real headless Chromium, and what a page in it must never do."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


# A page looks every two seconds, and a busy machine needs longer than the usual five.
expect.set_options(timeout=20_000)


def chromium_path() -> str:
    """Where Debian's package has put it; without one the test is skipped, or fails where a browser must be there."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        assert os.environ.get("SDCN_TEST_BROWSER") != "required", "SDCN_TEST_BROWSER=required, and there is no Chromium"
        pytest.skip("no Chromium here: install Debian's package chromium")
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, and everything it did that it should not have."""

    page: Page
    url: str
    """of the service, without a slash at its end"""
    wrongs: list[str] = field(default_factory=list)

    def goto(self, path: str) -> None:
        self.page.goto(f"{self.url}{path}")


def watch(page: Page, url: str) -> Watched:
    """Note what the console complains of, and requests to elsewhere."""
    watched = Watched(page, url)
    page.on("console", lambda said: watched.wrongs.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: watched.wrongs.append(str(error)))

    def requested(address: str) -> None:
        if not address.startswith((f"{url}/", "data:")):
            watched.wrongs.append(f"request to {address}")

    page.on("request", lambda request: requested(request.url))
    return watched


ACCESSIBLE = (Path(__file__).parent / "accessible.js").read_text()
"""Sentences on what is wrong with names, labels, the order of headings, landmarks, and the contrast of all text."""
