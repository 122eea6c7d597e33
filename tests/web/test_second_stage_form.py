"""The form on a model's page that makes a second stage of it."""

import re

import httpx
import pytest

from service.queue.records import Job
from service.queue.repository import JobQueue
from tests.web.examples import Examples
from tests.web.test_submit_page import told_beside


@pytest.fixture
def model(examples: Examples) -> str:
    return examples.trained().job_id


def send(client: httpx.Client, model: str, **fields: str) -> httpx.Response:
    """The form as it comes, with these fields filled in."""
    page = client.get(f"/models/{model}").text
    typed = {"work": "train", "name": "", "workers": "1", "overrides": "", "action": "submit"}
    token = re.search(r'name="token" value="([0-9a-f]+)"', page)
    assert token is not None
    return client.post(f"/models/{model}/second-stage", data={**typed, "token": token[1], **fields})


def second_stages(queue: JobQueue) -> list[Job]:
    return [job for job in queue.page(limit=10).jobs if job.kind == "second_stage"]


def test_a_fast_rcnn_is_trained_on_the_boxes_of_the_model(
    browser_like: httpx.Client, queue: JobQueue, model: str
) -> None:
    page = send(browser_like, model, name="taught", overrides="second_stage.steps = 7\nseed = 3")
    [job] = second_stages(queue)
    assert page.url.path == f"/jobs/{job.job_id}"
    assert "taught" in page.text
    assert f'<a href="/models/{model}">{model}</a>' in page.text
    assert (job.spec["model"], job.spec["train"]) == (model, True)
    experiment = job.spec["experiment"]
    assert isinstance(experiment, dict)
    assert (experiment["seed"], experiment["second_stage"]["steps"]) == (3, 7)  # type: ignore[index,call-overload]


def test_the_pseudo_labels_may_be_written_alone(browser_like: httpx.Client, queue: JobQueue, model: str) -> None:
    assert send(browser_like, model, work="labels").status_code == 200
    [job] = second_stages(queue)
    assert job.spec["train"] is False


def test_a_form_sent_twice_makes_one_job_and_a_changed_one_another(
    browser_like: httpx.Client, queue: JobQueue, model: str
) -> None:
    first, second = (send(browser_like, model, token="ab" * 16) for _ in range(2))
    assert first.url == second.url
    assert len(second_stages(queue)) == 1
    send(browser_like, model, token="ab" * 16, name="other")
    assert len(second_stages(queue)) == 2


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("overrides", "second_stage.steps = 0", "second_stage.steps"),
        ("overrides", "schedule.loop_steps = 3", "set both to 0"),
        ("overrides", "steps", "line 1: write path = value"),
        ("overrides", "# " + "x" * 100_000, "100002 characters are more than the 100000"),
        ("name", "two words", "String should match"),
        ("workers", "many", "no number of workers"),
        ("workers", "0", "greater than or equal to 1"),
        ("workers", "3", "cannot be shared evenly by 3 workers"),
        ("work", "dance", "nothing that can be done"),
    ],
)
def test_a_problem_is_told_beside_its_field_and_nothing_is_queued(
    browser_like: httpx.Client, queue: JobQueue, model: str, field: str, value: str, said: str
) -> None:
    page = send(browser_like, model, **{field: value})
    assert page.status_code == 422
    assert said in told_beside(page.text, field)
    assert f'href="#{field}"' in page.text
    assert second_stages(queue) == []


def test_what_was_typed_is_still_there_and_harmless(browser_like: httpx.Client, model: str) -> None:
    page = send(browser_like, model, work="labels", name='"><script>x</script>', overrides="\n</textarea>y")
    assert "<script>x" not in page.text
    assert "&lt;/textarea&gt;y" in page.text
    assert '<option value="labels" selected>' in page.text


def test_a_check_tells_what_there_would_be_and_queues_nothing(
    browser_like: httpx.Client, queue: JobQueue, model: str
) -> None:
    page = send(browser_like, model, action="check", overrides="second_stage.steps = 7")
    assert page.status_code == 200
    assert "Kind second stage, 1 training, 227 optimizer steps" in page.text  # 220 of labels come before
    assert "This can be done" in send(browser_like, model, work="labels", action="check").text
    assert second_stages(queue) == []


def test_a_model_that_is_not_there_has_no_second_stage(browser_like: httpx.Client, queue: JobQueue) -> None:
    assert browser_like.post("/models/abc123/second-stage", data={"work": "train"}).status_code == 404
    assert second_stages(queue) == []


def test_a_form_of_another_site_queues_nothing(browser_like: httpx.Client, queue: JobQueue, model: str) -> None:
    path, headers = f"/models/{model}/second-stage", {"Sec-Fetch-Site": "cross-site"}
    assert browser_like.post(path, data={"work": "train"}, headers=headers).status_code == 403
    assert second_stages(queue) == []


def test_the_run_of_a_study_teaches_too(browser_like: httpx.Client, queue: JobQueue, examples: Examples) -> None:
    model = f"{examples.ablation().job_id}/sdcn-seed0"
    assert send(browser_like, model).status_code == 200
    assert [job.spec["model"] for job in second_stages(queue)] == [model]
