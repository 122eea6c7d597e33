"""The pages in a real browser, on a real server and a queue that the test fills."""

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Route, expect

from service.queue.records import Settlement
from service.web import job_pages
from tests.service.server import listening
from tests.web.browser import ACCESSIBLE, Watched, chromium, watch
from tests.web.example_pictures import write_turned_photo
from tests.web.examples import Examples, counted_animals, course
from tests.web.predictors import FOUND, attach_predictor
from workers.spool import EventSpool

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with listening(app) as url:
        yield url


@pytest.fixture
def watched(browser: Browser, url: str) -> Iterator[Watched]:
    """A page at a desk; at its end it must have kept still and to itself."""
    context = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    watched = watch(context.new_page(), url)
    yield watched
    context.close()
    assert watched.wrongs == []


def all_pages(examples: Examples) -> list[str]:
    trained, ablation, sweep = examples.trained(), examples.ablation(), examples.sweep()
    failed = examples.failed()
    examples.ready_set(), examples.refused_set(), examples.checking_set()
    running, study = examples.running(), examples.running_ablation()
    ended = [f"/jobs/{job.job_id}" for job in (trained, ablation, sweep, failed)]
    at_work = [f"/jobs/{running.job_id}", f"/jobs/{study.job_id}", f"/jobs/{study.job_id}/runs/sdcn-seed0"]
    at_work.append(f"/jobs/{examples.waiting().job_id}")  # the last one, as a worker would take it before others
    shown = ["/", "/submit", "/models", f"/models/{trained.job_id}", *ended, *at_work]
    return [*shown, "/datasets", *(f"/datasets/{name}" for name in ("animals", "holiday-photos", "voc2012"))]


def test_a_job_is_submitted_with_the_keyboard_alone_and_listed(watched: Watched) -> None:
    watched.goto("/")
    keyboard, page = watched.page.keyboard, watched.page
    keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.get_by_role("link", name="Submit a job").focus()
    keyboard.press("Enter")
    page.wait_for_url("**/submit")
    page.locator("#work").focus()
    keyboard.press("Tab")
    keyboard.type("tiny")
    keyboard.press("Tab")  # the data
    keyboard.press("Tab")  # the link to the data sets
    keyboard.press("Tab")
    keyboard.type("by-keyboard")
    keyboard.press("Tab")
    keyboard.type("3")
    keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/jobs/[0-9a-f]+$"))
    expect(page.get_by_role("heading", level=1)).to_have_text("by-keyboard")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("link", name="by-keyboard")).to_be_visible()


def test_tab_reaches_everything_in_the_order_of_the_page_and_shows_where_it_is(watched: Watched) -> None:
    watched.goto("/submit")
    seen = []
    for _ in range(40):
        watched.page.keyboard.press("Tab")
        at = watched.page.evaluate(
            "() => {const e = document.activeElement; return [e.id || e.textContent.trim().slice(0, 20), e.tagName,"
            " getComputedStyle(e).outlineStyle, e.getBoundingClientRect().top]}"
        )
        if at[1] == "BODY":
            break
        seen.append(at)
    fields = ["work", "preset", "data", "name", "seeds", "workers", "overrides", "Submit", "Only check"]
    assert [name for name, *_ in seen if name in fields] == ["Submit", *fields]  # the first is the link to this page
    assert all(outline == "solid" for _, _, outline, _ in seen)


def test_a_problem_of_the_form_is_announced_and_leads_to_its_field(watched: Watched) -> None:
    watched.goto("/submit")
    watched.page.locator("#overrides").fill("objective.tua_0 = 1")
    with watched.page.expect_response(lambda answer: answer.status == 422):
        watched.page.get_by_role("button", name="Submit", exact=True).click()
    alert = watched.page.get_by_role("alert")
    expect(alert).to_contain_text("Nothing was submitted")
    alert.get_by_role("link", name="Overrides").click()
    field = watched.page.locator("#overrides")
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(re.compile("no such field"))
    expect(field).to_have_value("objective.tua_0 = 1")
    watched.wrongs = [wrong for wrong in watched.wrongs if "422" not in wrong]  # Chromium logs every refusal


def test_progress_and_losses_grow_while_the_page_is_open(watched: Watched, examples: Examples) -> None:
    claim = examples.running(until=200)
    watched.goto(f"/jobs/{claim.job_id}")
    losses = watched.page.locator("#chart-losses")
    expect(losses).to_contain_text("cls")
    expect(losses.locator(".legend")).not_to_contain_text("mil")
    spool = EventSpool(examples.runs / claim.job_id / "attempt-1" / "events.jsonl")
    for event in course(900, begin=200):
        spool.append(event)
    spool.close()
    examples.tell(claim, stage="loop", step=120, stage_steps=300, fraction=0.83, eta_s=90)
    expect(losses.locator(".legend")).to_contain_text("mil")
    expect(watched.page.get_by_role("progressbar", name="Progress of the whole job")).to_have_attribute(
        "value", "0.8300"
    )
    expect(watched.page.get_by_text("step 120 of 300")).to_be_visible()


def test_a_page_hears_of_what_happens_before_it_would_ask(
    watched: Watched, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pages, "LIVE_MS", 3_600_000)
    claim = examples.running(until=200)
    watched.goto(f"/jobs/{claim.job_id}")
    log = watched.page.get_by_role("region", name="End of the log")
    expect(log).to_have_count(0)
    (examples.runs / claim.job_id / "attempt-1" / "log.txt").write_text("a line of the log\n")
    examples.queue.settle(claim, Settlement.released("the worker is shutting down"))
    expect(log).to_have_text("a line of the log")
    expect(watched.page.get_by_role("status").first).to_contain_text("retry wait")


def test_a_page_looks_again_when_something_happens_while_it_looks(
    watched: Watched, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pages, "LIVE_MS", 3_600_000)
    claim = examples.running(until=200)
    page = watched.page
    page.add_init_script(
        """window.heard = 0;
        window.EventSource = class extends EventSource {
          constructor(url) { super(url); this.addEventListener("state", () => window.heard++); }
        };"""
    )

    def overtaken(route: Route) -> None:
        before = route.fetch()
        heard = page.evaluate("window.heard")
        examples.queue.settle(claim, Settlement.released("the worker is shutting down"))
        page.wait_for_function("heard => window.heard > heard", arg=heard)
        route.fulfill(response=before)

    page.route("**/live", overtaken, times=1)
    watched.goto(f"/jobs/{claim.job_id}")
    expect(page.get_by_role("status").first).to_contain_text("retry wait")


def test_what_the_reader_does_survives_the_renewal(watched: Watched, examples: Examples) -> None:
    claim = examples.running(until=700)
    watched.page.set_viewport_size({"width": 900, "height": 500})
    watched.goto(f"/jobs/{claim.job_id}")
    watched.page.locator("#chart-losses summary").click()
    watched.page.locator("#spec summary").focus()
    watched.page.evaluate("scrollTo(0, 300)")
    examples.tell(claim, stage="loop", step=1, stage_steps=300, fraction=0.75)
    expect(watched.page.get_by_text("step 1 of 300")).to_be_attached()
    expect(watched.page.locator("#chart-losses details")).to_have_attribute("open", "")
    expect(watched.page.locator("#spec summary")).to_be_focused()
    assert watched.page.evaluate("scrollY") == 300


def test_the_page_stops_looking_when_the_job_has_ended(watched: Watched, examples: Examples) -> None:
    claim = examples.running(until=700)
    watched.goto(f"/jobs/{claim.job_id}")
    results = examples.trained_results().model_dump(mode="json")
    examples.queue.settle(claim, Settlement.succeeded(results))
    expect(watched.page.locator(".facts .is-succeeded")).to_be_visible()
    expect(watched.page).to_have_title(re.compile("succeeded"))
    expect(watched.page.get_by_role("table", name="By class")).to_be_visible()
    assert watched.page.locator("#live").get_attribute("data-live") is None


def test_a_new_job_appears_in_the_list_by_itself(watched: Watched, examples: Examples) -> None:
    examples.running(until=700)
    watched.goto("/")
    examples.waiting(name="came-later")
    expect(watched.page.get_by_role("link", name="came-later")).to_be_visible()


def test_a_service_that_is_gone_is_told_and_one_that_is_back_too(watched: Watched, examples: Examples) -> None:
    claim = examples.running(until=700)
    watched.goto(f"/jobs/{claim.job_id}")
    watched.page.route("**/live", lambda route: route.abort())
    expect(watched.page.get_by_text("The service does not answer")).to_be_visible()
    watched.page.unroute("**/live")
    expect(watched.page.get_by_text("The service does not answer")).to_be_hidden()
    watched.wrongs = [wrong for wrong in watched.wrongs if "ERR_FAILED" not in wrong]


def test_a_service_that_takes_requests_and_says_nothing_is_told(watched: Watched, examples: Examples) -> None:
    claim = examples.running(until=700)
    watched.page.add_init_script(  # time passes 30 times as fast
        "const wait = AbortSignal.timeout.bind(AbortSignal); AbortSignal.timeout = (ms) => wait(ms / 30)"
    )
    watched.goto(f"/jobs/{claim.job_id}")
    watched.page.route("**/live", lambda route: None)
    expect(watched.page.get_by_text("The service does not answer")).to_be_visible()
    watched.page.unroute_all(behavior="ignoreErrors")


def test_escape_closes_the_question_before_a_job_is_cancelled(watched: Watched, examples: Examples) -> None:
    watched.goto(f"/jobs/{examples.waiting().job_id}")
    page, button = watched.page, watched.page.get_by_text("Cancel…")
    button.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Cancel this job")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Cancel this job")).to_be_hidden()
    expect(button).to_be_focused()


def test_a_job_is_cancelled_in_two_steps(watched: Watched, examples: Examples) -> None:
    job = examples.waiting()
    watched.goto(f"/jobs/{job.job_id}")
    expect(watched.page.get_by_role("button", name="Cancel this job")).to_be_hidden()
    watched.page.get_by_text("Cancel…").click()
    watched.page.get_by_role("button", name="Cancel this job").click()
    expect(watched.page.locator(".facts .is-cancelled")).to_be_visible()


def test_a_finished_ablation_shows_its_table_and_its_pictures(watched: Watched, examples: Examples) -> None:
    watched.goto(f"/jobs/{examples.ablation().job_id}")
    table = watched.page.get_by_role("table", name="Comparison")
    expect(table.get_by_role("row")).to_have_count(5)
    expect(table.get_by_role("rowheader", name="the loop closed (SDCN)")).to_be_visible()
    for name in ("comparison.jpg", "gallery.jpg"):
        picture = watched.page.locator(f'img[src*="{name}"]')
        picture.scroll_into_view_if_needed()
        watched.page.wait_for_function(
            "image => image.complete && image.naturalWidth > 0", arg=picture.element_handle()
        )
    with watched.page.expect_download() as download:
        watched.page.get_by_role("link", name="table.csv").click()
    with Path(download.value.path()).open(newline="") as file:
        rows = {row["variant"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["oicr", "apart", "seg-to-det", "sdcn"]
    assert float(rows["sdcn"]["mean_ap_mean"]) == pytest.approx(0.836)


def test_no_page_is_wider_than_its_window(browser: Browser, url: str, examples: Examples) -> None:
    page = browser.new_page()
    for path in all_pages(examples):
        page.goto(f"{url}{path}")
        for fold in page.locator("details.fold > summary").all():
            fold.click()
        for question in page.locator("details.confirm > summary").all():  # the last one, as it covers others
            question.click()
        for width in (360, 760, 768, 1280):
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            for question in page.locator("details.confirm > form").all():
                box = question.bounding_box()
                assert box is not None
                assert 0 <= box["x"] <= box["x"] + box["width"] <= width, (path, width)
    page.close()


def test_on_a_phone_a_studys_runs_are_shown_whole_with_state_progress_and_value(
    browser: Browser, url: str, examples: Examples
) -> None:
    context = browser.new_context(viewport=PHONE)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{url}/jobs/{examples.running_ablation().job_id}")
    table = page.get_by_role("table", name="Every training of this study")
    expect(table.get_by_role("row")).to_have_count(4)  # but for the one of headings
    for name in ("succeeded", "1080 steps in 5 min 1 s", "63.4", "classifier 180/260"):
        box = table.get_by_text(name).bounding_box()
        assert box is not None, name
        assert box["x"] + box["width"] <= PHONE["width"] - 16, name
    assert page.get_by_role("region", name="Runs, table").evaluate("part => part.scrollWidth <= part.clientWidth")
    context.close()


def test_every_page_can_be_read_by_everybody(watched: Watched, examples: Examples) -> None:
    for path in all_pages(examples):
        watched.goto(path)
        for fold in watched.page.locator("details > summary").all():
            fold.click()
        for scheme in ("light", "dark"):
            watched.page.emulate_media(color_scheme=scheme)
            assert watched.page.evaluate(ACCESSIBLE) == [], (path, scheme)


def test_nothing_moves_for_whoever_does_not_want_it(browser: Browser, url: str, examples: Examples) -> None:
    context = browser.new_context(viewport=DESKTOP, reduced_motion="reduce")  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{url}/jobs/{examples.running().job_id}")
    assert page.evaluate("document.getAnimations().length") == 0
    context.close()


def test_without_script_jobs_are_submitted_and_cancelled_and_pages_reloaded(
    browser: Browser, url: str, examples: Examples
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{url}/submit?preset=tiny")
    page.locator("#name").fill("no-script")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("no-script")
    page.get_by_role("link", name="Reload it every 10 s").click()
    expect(page.locator('meta[http-equiv="refresh"]')).to_have_attribute("content", "10")
    page.get_by_text("Cancel…").click()
    page.get_by_role("button", name="Cancel this job").click()
    expect(page.locator(".facts .is-cancelled")).to_be_visible()
    context.close()


def test_boxes_lie_over_the_image_at_any_width(
    app: FastAPI, watched: Watched, examples: Examples, tmp_path: Path
) -> None:
    attach_predictor(app, prediction=replace(FOUND, height=90))
    watched.page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    watched.goto(f"/models/{examples.trained().job_id}")
    watched.page.locator("#image").set_input_files(write_turned_photo(tmp_path / "photo.jpg", height_px=90))
    watched.page.get_by_role("button", name="Find objects").click()
    image = watched.page.locator(".photo img").bounding_box()
    box = watched.page.locator(".photo rect.box").last.bounding_box()
    assert image is not None
    assert box is not None
    # boxes count stored pixels: the picture lies as it is stored, although its EXIF data ask for a quarter turn
    assert image["width"] / image["height"] == pytest.approx(150 / 90, rel=0.02)
    assert box["x"] - image["x"] == pytest.approx(20 / 150 * image["width"], abs=2)
    assert box["y"] - image["y"] == pytest.approx(30 / 90 * image["height"], abs=2)
    assert watched.page.evaluate(ACCESSIBLE) == []


def test_a_check_that_ends_shows_its_counts_by_itself(watched: Watched, examples: Examples) -> None:
    dataset = examples.checking_set()
    watched.goto("/datasets")
    watched.page.get_by_role("link", name="voc2012").click()
    expect(watched.page.get_by_role("progressbar", name="Progress of the check")).to_be_visible()
    examples.settle_check(dataset, counted_animals())
    table = watched.page.get_by_role("table", name="Split train", exact=True)
    expect(table.get_by_role("row", name=re.compile("dog 72"))).to_be_visible()
    expect(watched.page.locator(".facts .is-ready")).to_be_visible()
    bars = [bar.bounding_box() for bar in table.locator("svg rect").all()]
    widths = [bar["width"] for bar in bars if bar is not None]
    assert widths[0] / widths[2] == pytest.approx(61 / 72, rel=0.03)
    assert watched.page.locator("#live").get_attribute("data-live") is None


def test_a_data_set_is_registered_and_chosen_for_a_job(watched: Watched, examples: Examples) -> None:
    watched.goto("/datasets")
    page = watched.page
    page.get_by_label("Name").fill("animals")
    page.get_by_label("Folder").fill("voc12_animals")
    page.get_by_role("button", name="Register and check").click()
    page.wait_for_url("**/datasets/animals")
    page.get_by_role("link", name="Train on it").click()
    page.wait_for_url("**/submit?data=animals")
    expect(page.get_by_label("Data", exact=True)).to_have_value("animals")


def test_a_picture_is_shown_as_it_is_stored(app: FastAPI, watched: Watched, examples: Examples, tmp_path: Path) -> None:
    attach_predictor(app, prediction=replace(FOUND, height=90))
    watched.goto(f"/models/{examples.trained().job_id}")
    watched.page.locator("#image").set_input_files(write_turned_photo(tmp_path / "photo.jpg", height_px=90))
    watched.page.get_by_role("button", name="Find objects").click()
    picture = watched.page.locator(".photo img")
    expect(picture).to_be_visible()
    shown = watched.page.screenshot(path=None, clip=picture.bounding_box())  # type: ignore[arg-type]
    pixels = cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_COLOR)
    assert pixels[:, : pixels.shape[1] // 4].mean() < 60  # the stored picture is black on its left
    assert pixels[:, -pixels.shape[1] // 4 :].mean() > 150
