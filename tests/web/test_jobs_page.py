from datetime import UTC, datetime

import httpx
import pytest

from tests.web.examples import Examples


def test_an_empty_queue_says_how_to_begin(browser_like: httpx.Client) -> None:
    page = browser_like.get("/")
    assert page.status_code == 200
    assert "No job yet" in page.text
    assert 'href="/submit?preset=tiny"' in page.text


def test_every_state_is_shown_with_what_there_is_to_know(browser_like: httpx.Client, examples: Examples) -> None:
    examples.failed()
    examples.trained()
    examples.cancelled()
    examples.running()
    page = browser_like.get("/").text
    for expected in (
        "failed",
        "trainval.txt is missing",
        "84.1 mAP",
        "cancelled on request",
        "apart 240/300",
        "3 min left",
    ):
        assert expected in page


def test_a_filter_shows_only_jobs_of_that_state(browser_like: httpx.Client, examples: Examples) -> None:
    examples.failed()
    waiting = examples.waiting(name="still-waiting")
    page = browser_like.get("/?state=queued&state=retry_wait").text
    assert waiting.job_id in page
    assert "voc2007-first-try" not in page


def test_filters_count_all_jobs_and_name_the_one_in_use(browser_like: httpx.Client, examples: Examples) -> None:
    examples.failed()
    examples.waiting()
    page = browser_like.get("/?state=failed").text
    assert '<a href="/?state=failed" aria-current="true">failed <b>1</b></a>' in page
    assert ">waiting <b>1</b>" in page


def test_a_filter_without_jobs_leads_back(browser_like: httpx.Client, examples: Examples) -> None:
    examples.waiting()
    page = browser_like.get("/?kind=sweep").text
    assert "No job is like that" in page


def test_older_jobs_are_on_the_next_page_and_none_is_lost(browser_like: httpx.Client, examples: Examples) -> None:
    made = {examples.waiting().job_id for _ in range(30)}
    first = browser_like.get("/").text
    older = first.split('rel="next"')[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
    second = browser_like.get(older).text
    assert {job for job in made if f"/jobs/{job}" in first} | {job for job in made if f"/jobs/{job}" in second} == made
    assert 'rel="next"' not in second


def test_a_cursor_of_nobody_is_refused_with_a_page(browser_like: httpx.Client) -> None:
    page = browser_like.get("/?cursor=nonsense")
    assert page.status_code == 400
    assert "next_cursor" in page.text
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("query", ["state=asleep", "kind=poem", "colour=red"])
def test_a_filter_that_does_not_exist_is_refused(browser_like: httpx.Client, query: str) -> None:
    assert browser_like.get(f"/?{query}").status_code == 422


def test_the_list_renews_itself_quickly_only_while_something_goes_on(
    browser_like: httpx.Client, examples: Examples
) -> None:
    examples.failed()
    assert 'data-every="10000"' in browser_like.get("/").text
    examples.waiting()
    assert 'data-every="2000"' in browser_like.get("/").text


def test_the_part_that_is_fetched_again_is_the_part_of_the_page(browser_like: httpx.Client, examples: Examples) -> None:
    job = examples.failed()
    part = browser_like.get("/live?state=failed")
    assert part.text.lstrip().startswith('<div id="live"')
    assert job.job_id in part.text
    assert "<html" not in part.text


def test_a_job_that_is_being_cancelled_says_so(browser_like: httpx.Client, examples: Examples) -> None:
    claim = examples.running()
    examples.queue.request_cancel(claim.job_id)
    assert "running, cancelling" in browser_like.get("/").text


def test_jobs_that_wait_long_while_no_worker_runs_are_told(browser_like: httpx.Client, examples: Examples) -> None:
    job = examples.waiting()
    assert "No worker has taken it" not in browser_like.get("/").text
    with examples.queue.transactions.engine.begin() as connection:  # as if it had come two minutes ago
        now_ms = round(datetime.now(UTC).timestamp() * 1000)
        connection.exec_driver_sql(f"UPDATE job SET available_at = {now_ms - 125_000} WHERE id = '{job.job_id}'")
    page = browser_like.get("/").text
    assert "has been waiting for 2 min" in page
    assert "No worker has taken it" in page
