"""Photograph the pages for the documentation: `python -m tests.web.take_pictures [--url URL] [FOLDER]`.

Without an address it shows made-up jobs; with one, whatever the service there has.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page

from sdcn_core.data.scene_classes import SCENE_CLASSES
from sdcn_core.inference.prediction import FoundBox
from service.app import create_app
from service.queue.migrations import upgrade
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from tests.service.server import listening
from tests.web.browser import chromium
from tests.web.example_pictures import scene, write_photo
from tests.web.examples import Examples
from tests.web.predictors import FOUND, attach_predictor

FOLDER = Path("docs/pictures")
PHOTO_SEED = 4
DESKTOP, PHONE = (1280, 800), (390, 844)
TALLEST = {DESKTOP: 2200, PHONE: 2400}
"""px; a longer page is cut off"""
MAX_BYTES = 200_000


@contextmanager
def example_service(home: Path) -> Iterator[str]:
    """A service with jobs in every state; its address."""
    settings = ServiceSettings(
        home=home, tracking_url="http://localhost:5000", ray_dashboard_url="http://localhost:8265"
    )
    upgrade(settings.queue_url)
    app = create_app(settings)
    boxes = [
        FoundBox(SCENE_CLASSES[one.class_index], 0.93 - 0.11 * rank, tuple(float(edge) for edge in one.box))  # type: ignore[arg-type]
        for rank, one in enumerate(scene(PHOTO_SEED).objects)
    ]
    attach_predictor(app, prediction=replace(FOUND, detections=tuple(boxes)))
    queue: JobQueue = app.state.queue
    fill(Examples(queue, settings))
    with listening(app) as url:
        yield url


def fill(examples: Examples) -> None:
    """Jobs as of a busy afternoon: minutes ago they were asked for, begun and ended."""
    made: dict[str, tuple[float, float | None, float | None]] = {
        examples.ready_set().check.job_id: (2900, 2899, 2898.6),
        examples.refused_set().check.job_id: (2800, 2799, 2798.8),
        examples.cancelled().job_id: (1500, None, 1490),
        examples.failed().job_id: (300, 299.8, 299.5),
        examples.ablation().job_id: (180, 179, 127),
        examples.sweep().job_id: (120, 119, 52),
        examples.trained().job_id: (50, 49.5, 41.2),
        examples.running_ablation().job_id: (38, 37.5, None),
        examples.running().job_id: (7, 6.5, None),
        examples.checking_set().check.job_id: (1.2, 1.1, None),
        examples.waiting(name="tiny-check").job_id: (0.3, None, None),
    }
    registered = {"animals": 2900, "holiday-photos": 2800, "voc2012": 1.2}
    now_ms = round(datetime.now(UTC).timestamp() * 1000)

    def ago(minutes: float | None) -> int | None:
        return None if minutes is None else round(now_ms - 60_000 * minutes)

    with examples.queue.transactions.engine.begin() as connection:
        for job_id, (created, started, ended) in made.items():
            times = (ago(created), ago(started), ago(ended))
            sql = "UPDATE job SET created_at = ?, started_at = ?, ended_at = ? WHERE id = ?"
            connection.exec_driver_sql(sql, (*times, job_id))
            sql = "UPDATE job_attempt SET started_at = ?, ended_at = ? WHERE job_id = ?"
            if started is not None:
                connection.exec_driver_sql(sql, (*times[1:], job_id))
        for name, created in registered.items():
            connection.exec_driver_sql("UPDATE dataset SET created_at = ? WHERE name = ?", (ago(created), name))


def scenes_of(url: str) -> dict[str, str]:
    """Picture -> path, of what the service has."""
    jobs = httpx.get(f"{url}/v1/jobs").json()["jobs"]
    models = httpx.get(f"{url}/v1/models").json()["models"]
    datasets = httpx.get(f"{url}/v1/datasets").json()["datasets"]
    found = {"jobs": "/", "submit": "/submit", "models": "/models", "datasets": "/datasets"}
    wanted = {
        "running": ("train", "running"),
        "study": ("ablation", "running"),
        "ablation": ("ablation", "succeeded"),
        "sweep": ("sweep", "succeeded"),
    }
    for name, kind_and_state in wanted.items():
        match = next((job for job in jobs if (job["kind"], job["state"]) == kind_and_state), None)
        if match is not None:
            found[name] = f"/jobs/{match['id']}"
    ready = next((one["name"] for one in datasets if one["state"] == "ready"), None)
    if ready is not None:
        found["dataset"] = f"/datasets/{ready}"
    trained = next((model for model in models if model["run"] is None), None)
    if trained is not None:
        found["model"] = f"/models/{trained['id']}"
    return found


def take(url: str, folder: Path, browser: Browser, photo: Path) -> list[Path]:
    """Photograph each page at a desk, by daylight, and on a phone, which shows some at night."""
    taken = []
    for name, path in scenes_of(url).items():
        for size, suffix, scheme in (
            (DESKTOP, "", "light"),
            (PHONE, "-phone", "dark" if name in ("running", "submit") else "light"),
        ):
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                color_scheme=scheme,  # type: ignore[arg-type]
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.goto(f"{url}{path}")
            if name == "model" and page.locator("#image").count():
                page.locator("#image").set_input_files(photo)
                page.get_by_role("button", name="Find objects").click()
                page.wait_for_selector(".photo")
            taken.append(_shoot(page, folder / f"web-{name}{suffix}.png", size))
            context.close()
    return taken


def _shoot(page: Page, path: Path, size: tuple[int, int]) -> Path:
    for picture in page.locator("main img").all():
        picture.scroll_into_view_if_needed()
        page.wait_for_function("image => image.complete", arg=picture.element_handle())
    page.evaluate("scrollTo(0, 0)")
    height = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST[size])
    page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": size[0], "height": height})
    whole = Image.open(path).convert("RGB")
    for colours in (256, 96, 48):  # pages have few colours, but the pictures on them do not
        whole.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size <= MAX_BYTES:
            break
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--url", help="a service that runs already")
    wanted = parser.parse_args()
    wanted.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place, chromium() as browser:
        photo = write_photo(Path(place) / "photo.png", seed=PHOTO_SEED)
        if wanted.url:
            take(wanted.url.rstrip("/"), wanted.folder, browser, photo)
        else:
            home = Path(place) / "home"
            home.mkdir()
            with example_service(home) as url:
                take(url, wanted.folder, browser, photo)


if __name__ == "__main__":
    main()
