import re

import httpx
import pytest

from service.jobs.specs import TrainSpec
from service.jobs.states import DatasetState
from service.queue.repository import JobQueue
from service.web import dataset_pages
from tests.service.data_counts import counts_without_boxes
from tests.web.examples import BROKEN, Examples
from tests.web.test_submit_page import only_job, send, told_beside


def test_without_data_sets_the_page_says_how_to_get_one(browser_like: httpx.Client) -> None:
    page = browser_like.get("/datasets").text
    assert "No data set is registered yet" in page
    assert "SDCN_DATA_ROOT" in page
    assert re.search(r'<a href="/datasets" aria-current="page">', page)


def test_data_sets_are_listed_with_their_state_and_bars(browser_like: httpx.Client, examples: Examples) -> None:
    examples.ready_set()
    examples.refused_set()
    examples.checking_set()
    page = browser_like.get("/datasets").text
    rows = dict(re.findall(r'<li id="dataset-([\w-]+)">(.*?)</li>', page, re.DOTALL))
    assert "5 classes · train 210 · test 252" in rows["animals"]
    assert 'aria-label="Images by class in train: cat 61, cow 38, dog 72, horse 45, sheep 17"' in rows["animals"]
    heights = [float(height) for height in re.findall(r'width="8" height="([\d.]+)"', rows["animals"])]
    assert heights == pytest.approx([30 * count / 72 for count in (61, 38, 72, 45, 17)], abs=0.1)
    assert BROKEN in rows["holiday-photos"]
    assert "6144 of 17125 files" in rows["voc2012"]
    assert 'data-live="/datasets"' in page


def test_the_list_stands_still_when_nothing_is_being_checked(browser_like: httpx.Client, examples: Examples) -> None:
    examples.ready_set()
    assert "data-live" not in browser_like.get("/datasets").text


def test_many_data_sets_come_in_pages(
    browser_like: httpx.Client, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_pages, "PAGE_LENGTH", 2)
    for name in ("one", "three", "two"):
        examples.register(name)
    first = browser_like.get("/datasets").text
    assert ('id="dataset-three"' in first, 'id="dataset-two"' in first) == (True, False)
    assert 'href="/datasets?cursor=three"' in first
    second = browser_like.get("/datasets?cursor=three").text
    assert ('id="dataset-three"' in second, 'id="dataset-two"' in second) == (False, True)
    assert 'data-live="/datasets?cursor=three"' in second


def test_a_data_set_is_shown_with_a_bar_for_each_class(browser_like: httpx.Client, examples: Examples) -> None:
    examples.ready_set()
    page = browser_like.get("/datasets/animals").text
    table = page.split('aria-label="Split train, table"')[1].split("</table>")[0]
    (bars,) = re.findall(r'<rect width="([\d.]+)" height="8" rx="2"/></svg><span class="count">72<', table)
    assert bars == "100.0"
    assert "320 to 500 (median 500) px wide" in page
    assert "<details" in page.split("Split trainval")[0].rpartition("Split test")[2]  # not named by the source: folded
    assert "is learnt from" not in page
    assert "2 of the images of split" in page


def test_a_data_set_without_boxes_says_so_in_place_of_counting_them(
    browser_like: httpx.Client, examples: Examples
) -> None:
    examples.settle_check(examples.checking_set(), counts_without_boxes())
    page = browser_like.get("/datasets/voc2012").text
    assert "no boxes" in page
    assert ">objects<" not in page


def test_a_refused_data_set_tells_every_problem(browser_like: httpx.Client, examples: Examples) -> None:
    examples.refused_set(*(f"image {number}.jpg is <b>broken</b>" for number in range(12)))
    page = browser_like.get("/datasets/holiday-photos").text
    assert page.count("&lt;b&gt;broken") == 12
    assert "4 more" in page
    assert "Train on it" not in page


def test_a_check_shows_how_far_it_is_and_leads_to_its_job(browser_like: httpx.Client, examples: Examples) -> None:
    dataset = examples.checking_set()
    page = browser_like.get("/datasets/voc2012").text
    assert "36 %" in page
    assert f'href="/jobs/{dataset.check.job_id}"' in page
    assert 'data-live="/datasets/voc2012"' in page
    job = browser_like.get(f"/jobs/{dataset.check.job_id}").text
    assert "check, step 6144 of 17125" in job


def test_the_job_of_a_check_shows_the_same_counts(browser_like: httpx.Client, examples: Examples) -> None:
    page = browser_like.get(f"/jobs/{examples.ready_set().check.job_id}").text
    assert "5 classes · train 210" in page
    assert 'aria-label="Split train, table"' in page
    refused = browser_like.get(f"/jobs/{examples.refused_set().check.job_id}").text
    assert "refused: 1 problem" in refused
    assert BROKEN in refused


def test_an_unchecked_data_set_says_why(browser_like: httpx.Client, examples: Examples, queue: JobQueue) -> None:
    examples.register("animals")
    queue.request_cancel(examples.datasets.get("animals").check.job_id)
    assert "the check cancelled" in browser_like.get("/datasets/animals").text


def test_the_form_registers_a_data_set_and_shows_it(browser_like: httpx.Client, examples: Examples) -> None:
    typed = {"name": "animals", "kind": "voc", "path": "voc12", "fields": 'train_split = train\nclasses = ["cat"]'}
    page = browser_like.post("/datasets", data=typed)
    assert page.url.path == "/datasets/animals"
    source = examples.datasets.get("animals").source
    assert (source["path"], source["train_split"], source["classes"]) == ("voc12", "train", ["cat"])


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        ({"name": "two words"}, "name", "String should match"),
        ({"name": "taken"}, "name", "registered as &#39;taken&#39; already"),
        ({"name": "scenes"}, "name", "is a preset"),
        ({"kind": "tapes"}, "kind", "expected tags"),
        ({"path": ""}, "path", "is required"),
        ({"path": "../x"}, "path", "below the configured root"),
        ({"fields": "train_split"}, "fields", "line 1: write field = value"),
        ({"fields": "sauce = 1"}, "fields", "sauce: there is no such field"),
    ],
)
def test_a_problem_is_told_beside_its_field_and_nothing_is_registered(
    browser_like: httpx.Client, examples: Examples, change: dict[str, str], field: str, said: str
) -> None:
    examples.register("taken")
    typed = {"name": "animals", "kind": "voc", "path": "<i>voc12", "fields": ""}
    page = browser_like.post("/datasets", data=typed | change)
    assert page.status_code == 422
    assert said in told_beside(page.text, field)
    assert "<i>voc12" not in page.text
    assert [one.name for one in examples.datasets.page(limit=10).datasets] == ["taken"]


def test_a_data_set_is_checked_again_and_removed(
    browser_like: httpx.Client, examples: Examples, queue: JobQueue
) -> None:
    examples.ready_set()
    assert browser_like.post("/datasets/animals/check").url.path == "/datasets/animals"
    checked = examples.datasets.get("animals")
    assert checked.state is DatasetState.CHECKING
    refused = browser_like.post("/datasets/animals/remove")
    assert refused.status_code == 409
    assert "cancel them first" in refused.text
    queue.request_cancel(checked.check.job_id)
    assert browser_like.post("/datasets/animals/remove").url.path == "/datasets"
    assert examples.datasets.page(limit=10).datasets == ()


@pytest.mark.parametrize("path", ["/datasets", "/datasets/animals/check", "/datasets/animals/remove"])
def test_a_form_of_another_site_changes_nothing(browser_like: httpx.Client, examples: Examples, path: str) -> None:
    examples.ready_set()
    typed = {"name": "more", "path": "x"}
    answer = browser_like.post(path, data=typed, headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert [one.state for one in examples.datasets.page(limit=10).datasets] == [DatasetState.READY]


@pytest.mark.parametrize("name", ["nobody", "no%20name"])
def test_a_data_set_that_is_not_there_has_a_page_that_says_so(browser_like: httpx.Client, name: str) -> None:
    page = browser_like.get(f"/datasets/{name}")
    assert page.status_code == 404
    assert "No such data set" in page.text


def test_the_form_of_jobs_offers_data_sets_and_takes_one(
    browser_like: httpx.Client, examples: Examples, queue: JobQueue
) -> None:
    examples.ready_set()
    examples.refused_set()
    form = browser_like.get("/submit?data=animals").text
    assert '<option value="animals" selected>animals (voc, 5 classes)</option>' in form
    assert "holiday-photos (voc, 5 classes, refused)" in form
    page = send(browser_like, data="animals", overrides="data.source.test_split = val")
    job = queue.get(page.url.path.rpartition("/")[2])
    wanted = {"data.source": examples.datasets.get("animals").source, "data.source.test_split": "val"}
    assert (
        job.spec["experiment"]
        == TrainSpec(preset="tiny", overrides=wanted).resolve().model_dump(mode="json")["experiment"]
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"data": "nobody"}, "there are: animals, holiday-photos"),
        ({"data": "holiday-photos"}, "was refused: image"),
        ({"data": "animals", "overrides": 'data.source = {"kind": "scenes"}'}, "say it in one place"),
        ({"data": "x" * 1001}, "1001 characters are more"),
    ],
)
def test_what_is_wrong_with_the_data_is_told_beside_it(
    browser_like: httpx.Client, examples: Examples, queue: JobQueue, fields: dict[str, str], said: str
) -> None:
    examples.ready_set()
    examples.refused_set()
    page = send(browser_like, **fields)
    assert page.status_code == 422
    assert said in told_beside(page.text, "data")
    assert queue.page(limit=10, kind="train").jobs == ()


def test_a_source_that_was_typed_is_told_beside_the_overrides(browser_like: httpx.Client) -> None:
    page = send(browser_like, overrides="data.source = 3").text
    assert "data.source" in told_beside(page, "overrides")
    named = send(browser_like, overrides='data.source = {"kind": "registered", "name": "nobody"}').text
    assert "data.source: no data set is registered" in told_beside(named, "overrides")


def test_a_check_of_a_form_warns_of_data_that_are_still_being_read(
    browser_like: httpx.Client, examples: Examples, queue: JobQueue
) -> None:
    examples.checking_set()
    assert "is still being checked" in send(browser_like, data="voc2012", action="check").text
    assert only_job(queue).kind == "check_data"
