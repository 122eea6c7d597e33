import re
from typing import Any

import httpx
import pytest

from service.queue.records import Job
from service.queue.repository import JobQueue
from service.web.form_fields import Refused, read_overrides, read_seeds

FORM = {"work": "train", "preset": "tiny", "name": "", "seeds": "", "workers": "1", "overrides": "", "action": "submit"}


def send(client: httpx.Client, **fields: str) -> httpx.Response:
    """The form as it comes, with these fields filled in."""
    token = re.search(r'name="token" value="([0-9a-f]+)"', client.get("/submit").text)
    assert token is not None
    return client.post("/submit", data={**FORM, "token": token[1], **fields})


def only_job(queue: JobQueue) -> Job:
    [job] = queue.page(limit=10).jobs
    return job


def told_beside(page: str, field: str) -> str:
    """What is said below a field."""
    found = re.search(rf'<ul class="problem" id="{field}-problem">(.*?)</ul>', page, re.DOTALL)
    return "" if found is None else found[1]


def test_the_form_makes_a_job_and_shows_it(browser_like: httpx.Client, queue: JobQueue) -> None:
    page = send(browser_like, name="from-the-form", seeds="7", overrides="objective.tau_0 = 0.3\n\n# why\n")
    job = only_job(queue)
    assert page.url.path == f"/jobs/{job.job_id}"
    assert "from-the-form" in page.text
    experiment: Any = job.spec["experiment"]
    assert (experiment["seed"], experiment["objective"]["tau_0"]) == (7, 0.3)


def test_the_form_makes_a_study_with_seeds(browser_like: httpx.Client, queue: JobQueue) -> None:
    send(browser_like, work="ablation:oicr-against-sdcn", seeds="0-2")
    job = only_job(queue)
    assert (job.kind, job.spec["seeds"]) == ("ablation", [0, 1, 2])


def test_the_form_makes_a_sweep(browser_like: httpx.Client, queue: JobQueue) -> None:
    send(browser_like, work="sweep:figure-5")
    assert only_job(queue).kind == "sweep"


def test_a_form_sent_twice_makes_one_job(browser_like: httpx.Client, queue: JobQueue) -> None:
    token = "ab" * 16
    first, second = (send(browser_like, token=token, name="once") for _ in range(2))
    assert first.url == second.url
    assert only_job(queue).name == "once"


def test_a_form_that_was_changed_after_going_back_makes_another_job(
    browser_like: httpx.Client, queue: JobQueue
) -> None:
    for name in ("one", "two"):
        assert send(browser_like, token="ab" * 16, name=name).status_code == 200
    assert len(queue.page(limit=10).jobs) == 2


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("overrides", "objective.tau_0 = -1", "objective.tau_0"),
        ("overrides", "objective.tua_0 = 1", "no such field"),
        ("overrides", "tau_0", "line 1: write path = value"),
        ("overrides", "seed = 1\nseed = 2", "line 2: seed was there before"),
        ("overrides", "seed = NaN", "line 1: NaN is no number"),
        ("overrides", "seed = " + "[" * 60_000, "nested too deeply"),
        ("overrides", "seed = " + "9" * 5000, "a number has 5000 digits"),
        ("overrides", 'data.source.kind = "\\ud800"', "half of a surrogate pair"),
        ("name", "two words", "String should match"),
        ("seeds", "some", "neither a seed nor a range"),
        ("seeds", "9-0", "neither a seed nor a range"),
        ("seeds", "0, 1", "a single training has one seed"),
        ("seeds", "0-1000", "at most 20 seeds"),
        ("seeds", "0,0", "seed 0 is there twice"),
        ("seeds", "1-3, 2", "seed 2 is there twice"),
        ("seeds", "9999999999", "a seed is at most 2147483647"),
        ("seeds", "0," * 600, "1200 characters are more than the 1000"),
        ("overrides", "# " + "x" * 100_000, "100002 characters are more than the 100000"),
        ("workers", "many", "no number of workers"),
        ("workers", "0", "greater than or equal to 1"),
        ("workers", "3", "cannot be shared evenly by 3 workers"),
        ("preset", "nobody", "no preset is named"),
        ("work", "ablation:nobody", "no ablation is named"),
        ("work", "dance", "no such kind of job"),
        ("work", "ablation", "exactly one of study"),
    ],
)
def test_a_problem_is_told_beside_its_field_and_nothing_is_queued(
    browser_like: httpx.Client, queue: JobQueue, field: str, value: str, said: str
) -> None:
    page = send(browser_like, **{field: value})
    assert page.status_code == 422
    if said == "exactly one of study":
        assert said in page.text
    else:
        assert said in told_beside(page.text, field)
        assert f'href="#{field}"' in page.text
    assert queue.page(limit=1).jobs == ()


@pytest.mark.parametrize("seeds", ["0,0", "9999999999"])
def test_seeds_of_a_study_that_cannot_be_are_told_beside_them_and_nowhere_else(
    browser_like: httpx.Client, queue: JobQueue, seeds: str
) -> None:
    page = send(browser_like, work="ablation:table-2", seeds=seeds).text
    assert page.count('<ul class="problem"') == 1
    assert told_beside(page, "seeds").count("<li>") == 1
    assert "<strong>Nothing was submitted.</strong> See" in page
    assert "Tuple" not in page
    assert queue.page(limit=1).jobs == ()


def test_an_override_that_is_no_object_is_not_answered_as_a_body(browser_like: httpx.Client) -> None:
    page = send(browser_like, overrides="objective = 3").text
    assert told_beside(page, "overrides") == "<li>objective: must be a JSON object</li>"


def test_of_very_many_wrong_lines_the_first_are_told_at_once(browser_like: httpx.Client) -> None:
    told = told_beside(send(browser_like, overrides="x\n" * 40_000).text, "overrides")
    assert told.count("<li>") == 21
    assert told.endswith("<li>and more</li>")


def test_overrides_that_are_too_long_are_still_in_the_form(browser_like: httpx.Client) -> None:
    typed = "# " + "x" * 100_000
    page = send(browser_like, overrides=typed, name="kept").text
    assert f"{typed}</textarea>" in page
    assert 'value="kept"' in page


def test_what_was_typed_is_still_there_and_harmless(browser_like: httpx.Client) -> None:
    page = send(browser_like, name='"><script>x</script>', overrides="\n</textarea><script>y</script>", seeds="3")
    assert "<script>x" not in page.text
    assert "<script>y" not in page.text
    assert 'value="3"' in page.text
    assert "&lt;/textarea&gt;" in page.text


def test_a_check_tells_what_there_would_be_and_queues_nothing(browser_like: httpx.Client, queue: JobQueue) -> None:
    page = send(browser_like, work="ablation:table-2", seeds="0,1", action="check")
    assert page.status_code == 200
    assert "8 trainings" in page.text
    assert queue.page(limit=1).jobs == ()


def test_a_check_passes_on_what_is_odd(browser_like: httpx.Client) -> None:
    page = send(browser_like, overrides="schedule.backbone.steps = 0", action="check")
    assert "starts the detection from random features" in page.text


def test_a_link_may_fill_in_the_preset(browser_like: httpx.Client) -> None:
    assert '<option value="tiny" selected>' in browser_like.get("/submit?preset=tiny").text


def test_a_form_without_fields_is_refused_and_shown_again(browser_like: httpx.Client, queue: JobQueue) -> None:
    page = browser_like.post("/submit", data={"token": "x"})
    assert page.status_code == 422
    assert queue.page(limit=1).jobs == ()


@pytest.mark.parametrize("body", [b"\xff\xfe", b"work=%ff%fe&preset=tiny", b"a" * 5000, b"name=%00&preset=tiny"])
def test_a_body_that_is_no_form_is_refused_without_a_traceback(browser_like: httpx.Client, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    page = browser_like.post("/submit", content=body, headers=headers)
    assert page.status_code in (400, 422)
    assert "Traceback" not in page.text


def test_a_body_beyond_the_bound_is_refused_with_a_page(browser_like: httpx.Client) -> None:
    page = browser_like.post("/submit", data={"overrides": "x" * 2_000_000})
    assert page.status_code == 413
    assert page.headers["content-type"].startswith("text/html")


def test_values_are_json_or_else_text() -> None:
    refused = Refused()
    read = read_overrides('a = 1\nb = "1"\nc = fast\nd = [1, 2]\ne = null\nf = x = y', refused)
    assert read == {"a": 1, "b": "1", "c": "fast", "d": [1, 2], "e": None, "f": "x = y"}
    assert not refused


@pytest.mark.parametrize(
    ("text", "seeds"), [("", ()), ("4", (4,)), ("0 1 2", (0, 1, 2)), ("0-1; 5", (0, 1, 5)), (" 1 - 2 ,", (1, 2))]
)
def test_seeds_are_numbers_and_ranges(text: str, seeds: tuple[int, ...]) -> None:
    refused = Refused()
    assert read_seeds(text, refused) == seeds
    assert not refused
