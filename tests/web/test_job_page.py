import html
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest

from sdcn_core.config.presets import preset
from service.jobs.results import TrainResults
from service.jobs.second_stage_results import PseudoLabelsFound, SecondStageResults
from service.jobs.specs import EvaluateSpec, PredictSpec, SecondStageSpec
from service.jobs.states import FailureReason
from service.jobs.study_results import EvaluateResults, PredictResults
from service.queue.records import Settlement
from service.run_files import artifacts, series
from service.web.files import File
from service.web.pictures import pictures
from tests.service.jobs.test_results import COCO
from tests.web.examples import Examples, judgement, write_spool


def test_a_running_job_shows_where_it_is_and_its_losses(browser_like: httpx.Client, examples: Examples) -> None:
    claim = examples.running(until=720)
    page = browser_like.get(f"/jobs/{claim.job_id}").text
    assert "step 240 of 300" in page
    assert '<li class="current" aria-current="step">apart' in page
    assert '<figure class="chart wide" id="chart-losses">' in page
    assert f'data-live="/jobs/{claim.job_id}/live"' in page


def test_losses_are_there_as_a_table_too(browser_like: httpx.Client, examples: Examples) -> None:
    claim = examples.running(until=720)
    page = browser_like.get(f"/jobs/{claim.job_id}").text
    table = page.split('aria-label="Losses, table"')[1].split("</table>")[0]
    assert '<th scope="row">720</th>' in table
    assert '<th scope="col" class="num">mil</th>' in table


def test_the_end_of_the_newest_log_is_shown_without_script(browser_like: httpx.Client, examples: Examples) -> None:
    claim = examples.running(until=20)
    folder = examples.runs / claim.job_id / "attempt-1"
    assert 'id="log"' not in browser_like.get(f"/jobs/{claim.job_id}").text
    lines = [f"line {number}" for number in range(200)]
    (folder / "log.txt").write_text(
        "\n".join([*lines, '{"event": "<b>stage</b>", "level": "info"}', "\x1b[1mlast"]) + "\n"
    )
    page = browser_like.get(f"/jobs/{claim.job_id}").text
    shown = html.unescape(page.split('id="log"')[1].split("<code>")[1].split("</code>")[0]).splitlines()
    assert shown[-3:] == ["line 199", "info: <b>stage</b>", "last"]
    assert len(shown) <= 40
    assert f'href="/v1/jobs/{claim.job_id}/logs"' in page


def test_a_job_that_has_ended_is_not_looked_at_again(browser_like: httpx.Client, examples: Examples) -> None:
    job = examples.trained()
    page = browser_like.get(f"/jobs/{job.job_id}").text
    assert "data-live=" not in page
    assert 'id="cancel"' not in page


def test_a_training_shows_each_class_beside_the_baselines(browser_like: httpx.Client, examples: Examples) -> None:
    page = browser_like.get(f"/jobs/{examples.trained().job_id}").text
    assert "AP, untrained" in page
    assert "AP on 250 test images, CorLoc on 400 training images" in page
    assert '<tr class="total"><th scope="row">mean</th><td class="num">84.1</td><td class="num">4.1</td>' in page


def test_a_training_no_better_than_chance_is_told(browser_like: httpx.Client, examples: Examples) -> None:
    job = examples.trained()
    worse = dict(job.results or {}) | {"chance": (job.results or {})["trained"]}
    again = examples.settled(examples.queue_spec(), TrainResults.model_validate(worse))
    assert "does not beat chance" in browser_like.get(f"/jobs/{again.job_id}").text


def test_a_failure_says_what_to_do(browser_like: httpx.Client, examples: Examples) -> None:
    page = browser_like.get(f"/jobs/{examples.failed().job_id}").text
    assert "Bad input:" in page
    assert "put the data set there" in page
    assert "submit it anew" in page


def test_an_attempt_that_was_lost_is_told_and_the_next_one_announced(
    browser_like: httpx.Client, examples: Examples
) -> None:
    page = browser_like.get(f"/jobs/{examples.retrying().job_id}").text
    assert "the worker vanished at step 40" in page
    assert "The next attempt may begin at" in page


def test_files_can_be_fetched_and_pictures_are_described(browser_like: httpx.Client, examples: Examples) -> None:
    job = examples.trained()
    page = browser_like.get(f"/jobs/{job.job_id}").text
    assert f'<a href="/v1/jobs/{job.job_id}/artifacts/model.pt" download>model.pt</a>' in page
    assert "1.8 MB" in page
    assert 'alt="Test images with the boxes that the trained network found' in page
    assert browser_like.get(f"/v1/jobs/{job.job_id}/artifacts/detections.png").status_code == 200


def test_files_are_listed_by_their_size_without_being_read(
    browser_like: httpx.Client, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = examples.trained()

    def read(path: Path) -> BinaryIO:
        raise AssertionError(f"{path} is opened")

    monkeypatch.setattr(artifacts, "open_file", read)
    monkeypatch.setattr(artifacts, "opened", read)
    assert "1.8 MB" in browser_like.get(f"/jobs/{job.job_id}").text


@pytest.mark.parametrize(
    "name",
    [
        "bars.png",
        "comparison.jpg",
        "largest_gains.jpg",
        "largest_losses.jpg",
        "curves.png",
        "detections.png",
        "error_modes.png",
        "gallery.jpg",
        "precision_recall.png",
        "predictions.png",
        "pseudo_labels.png",
        "training_curves.png",
    ],
)
def test_every_picture_that_a_worker_draws_is_named_and_described(name: str) -> None:
    [picture] = pictures([File(name, 1, f"/{name}")])
    assert picture.caption[0].isupper()
    assert len(picture.alt) > 50
    assert name not in picture.alt


def test_links_lead_to_the_run_in_mlflow_and_to_the_dashboard(browser_like: httpx.Client, examples: Examples) -> None:
    claim = examples.running()
    examples.queue.attach_tracking(claim.job_id, "run42")
    page = browser_like.get(f"/jobs/{claim.job_id}").text
    assert "http://mlflow.test/#/runs/run42" in page
    assert "http://ray.test/" in page


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_what_others_wrote_is_shown_and_not_run(browser_like: httpx.Client, examples: Examples, hostile: str) -> None:
    job = examples.failed(message=hostile)
    for path in (f"/jobs/{job.job_id}", "/"):
        page = browser_like.get(path).text
        assert hostile not in page
        assert html.escape(hostile).replace("&quot;", "&#34;") in page


def test_what_others_wrote_is_no_template(browser_like: httpx.Client, examples: Examples) -> None:
    job = examples.failed(message="{{ 6543 * 7 }}")
    assert "{{ 6543 * 7 }}" in browser_like.get(f"/jobs/{job.job_id}").text


def test_a_hostile_metric_name_stays_text(browser_like: httpx.Client, examples: Examples) -> None:
    claim = examples.running(until=20)
    spool = examples.runs / claim.job_id / "attempt-1" / "events.jsonl"
    with spool.open("a") as file:
        file.write('{"kind": "metrics", "global_step": 30, "values": {"</title><script>": 1.0}, "time_ms": 1}\n')
    page = browser_like.get(f"/jobs/{claim.job_id}").text
    assert "&lt;/title&gt;&lt;script&gt;" in page
    assert "<script>" not in page


def test_a_job_without_files_is_shown(browser_like: httpx.Client, examples: Examples) -> None:
    job = examples.waiting()
    page = browser_like.get(f"/jobs/{job.job_id}")
    assert page.status_code == 200
    assert "It waits for a worker" in page.text


def test_results_of_another_version_are_named_and_linked(browser_like: httpx.Client, examples: Examples) -> None:
    claim = examples.claimed(examples.queue_spec())
    examples.queue.start(claim)
    examples.queue.begin_running(claim)
    examples.queue.settle(claim, Settlement.succeeded({"of": "another version"}))
    page = browser_like.get(f"/jobs/{claim.job_id}")
    assert page.status_code == 200
    assert "Another version of the service wrote these results" in page.text


def test_a_second_attempt_adds_to_the_curves_of_the_first(browser_like: httpx.Client, examples: Examples) -> None:
    job = examples.retrying()
    write_spool(examples.runs / job.job_id, 100, attempt=1)
    write_spool(examples.runs / job.job_id, 200, attempt=2)
    page = browser_like.get(f"/jobs/{job.job_id}").text
    assert "Over step 10 to 200" in page


def test_curves_that_end_early_because_much_was_measured_say_so(
    browser_like: httpx.Client, examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "READ_BYTES", 1)  # a block is read all the same, and then an answer ends
    path = f"/jobs/{examples.trained().job_id}"
    first, second = (browser_like.get(path).text for _ in range(2))
    assert "not all that was measured is read yet" in first
    assert 'id="chart-losses"' in second
    assert "not all that was measured" not in second


def test_a_waiting_job_is_cancelled_from_its_page(browser_like: httpx.Client, examples: Examples) -> None:
    job = examples.waiting()
    page = browser_like.post(f"/jobs/{job.job_id}/cancel")
    assert page.url.path == f"/jobs/{job.job_id}"
    assert "cancelled on request" in page.text


def test_cancelling_what_has_ended_is_refused_with_a_page(browser_like: httpx.Client, examples: Examples) -> None:
    page = browser_like.post(f"/jobs/{examples.trained().job_id}/cancel")
    assert page.status_code == 409
    assert "nothing left to cancel" in page.text


def test_without_script_a_reader_may_have_the_page_reloaded(browser_like: httpx.Client, examples: Examples) -> None:
    claim = examples.running()
    assert "?refresh=10" in browser_like.get(f"/jobs/{claim.job_id}").text
    assert '<meta http-equiv="refresh" content="10">' in browser_like.get(f"/jobs/{claim.job_id}?refresh=10").text
    assert "http-equiv" not in browser_like.get(f"/jobs/{claim.job_id}").text


def test_every_reason_for_a_failure_has_its_way_out(browser_like: httpx.Client, examples: Examples) -> None:
    for reason in FailureReason:
        claim = examples.claimed(examples.queue_spec())
        examples.queue.start(claim)
        examples.queue.begin_running(claim)
        examples.queue.settle(claim, Settlement.failed(reason, "it ended"))
        assert browser_like.get(f"/jobs/{claim.job_id}").status_code == 200


def test_an_evaluation_shows_its_classes_and_coco_s_figures(browser_like: httpx.Client, examples: Examples) -> None:
    found = EvaluateResults(
        model="abc123",
        classes=tuple(judgement(0.5, 0.6, seed=0).ap),
        ap_split="test",
        corloc_split="train",
        judgement=judgement(0.5, 0.6, seed=0).model_copy(update={"coco": COCO}),
    )
    page = browser_like.get(f"/jobs/{examples.settled(EvaluateSpec(model='abc123').resolve(), found).job_id}").text
    assert '<th scope="row">AP50</th><td class="num">1.0</td>' in page
    assert "50.0 mAP · 60.0 CorLoc" in page
    assert '<tr class="total"><th scope="row">mean</th><td class="num">50.0</td><td class="num">60.0</td></tr>' in page


def test_a_second_stage_shows_the_student_beside_its_teacher_and_its_boxes(
    browser_like: httpx.Client, examples: Examples
) -> None:
    judged, taught = judgement(0.5, 0.6, seed=0), judgement(0.4, 0.7, seed=0)
    labels = PseudoLabelsFound(model_sha256="0" * 64, images=9, without_boxes=1, boxes=dict.fromkeys(judged.ap, 4))
    student = TrainResults(classes=tuple(judged.ap), trained=judged)
    found = SecondStageResults(
        model="abc123", classes=tuple(judged.ap), pseudo_labels=labels, teacher=taught, student=student
    )
    spec = SecondStageSpec(model="abc123").resolve().taught_by(preset("tiny"))
    page = browser_like.get(f"/jobs/{examples.settled(spec, found).job_id}").text
    for said in ("50.0 mAP · 60.0 CorLoc · teacher 40.0 mAP", "AP, teacher", "In 9 training images, 1 of them", "fast"):
        assert said in page
    assert "does not beat the teacher" in page  # in CorLoc
    alone = found.model_copy(update={"student": None})
    only = SecondStageSpec(model="abc123", train=False).resolve().taught_by(preset("tiny"))
    page = browser_like.get(f"/jobs/{examples.settled(only, alone).job_id}").text
    assert f"{4 * len(judged.ap)} pseudo labels in 9 images" in page


def test_a_prediction_says_how_many_and_how_fast(browser_like: httpx.Client, examples: Examples) -> None:
    found = PredictResults(
        model="abc123", images=7, broken=("a.txt",), boxes=31, seconds_per_image=0.25, seconds_per_image_p95=0.5
    )
    spec = PredictSpec(model="abc123", folder="photos").resolve()
    page = browser_like.get(f"/jobs/{examples.settled(spec, found).job_id}").text
    for said in ("31 boxes in 7 images", "a.txt", "95 % below 0.5"):
        assert said in page


def test_a_prediction_of_no_image_has_no_time(browser_like: httpx.Client, examples: Examples) -> None:
    found = PredictResults(model="abc123", images=0, boxes=0, seconds_per_image=None, seconds_per_image_p95=None)
    spec = PredictSpec(model="abc123", folder="photos").resolve()
    assert "<dd>– <span" in browser_like.get(f"/jobs/{examples.settled(spec, found).job_id}").text


def test_a_job_is_paused_resumed_and_made_more_urgent_from_its_page(
    browser_like: httpx.Client, examples: Examples
) -> None:
    path = f"/jobs/{examples.waiting().job_id}"
    page = browser_like.get(path).text
    assert f'action="{path}/pause"' in page
    assert "place 1 in the queue" in page
    assert "no worker is there" in page
    paused = browser_like.post(f"{path}/pause").text
    assert "it is paused: resume it" in paused
    assert f'action="{path}/resume"' in paused
    assert f'action="{path}/pause"' not in paused
    assert "Priority 7" in browser_like.post(f"{path}/priority", data={"priority": "7"}).text
    assert "place 1 in the queue" in browser_like.post(f"{path}/resume").text


def test_a_failed_job_is_tried_again_cloned_and_deleted_from_its_page(
    browser_like: httpx.Client, examples: Examples
) -> None:
    job = examples.failed()
    path = f"/jobs/{job.job_id}"
    changes = {"name": "second", "overrides": "objective.tau_0 = 0.3\nseed = 4"}
    clone = browser_like.post(f"{path}/clone", data=changes)
    assert clone.url.path != path
    assert f'Cloned from</dt><dd><a href="{path}">' in clone.text
    made = examples.queue.get(clone.url.path.removeprefix("/jobs/"))
    assert (made.name, made.spec["experiment"]["seed"]) == ("second", 4)  # type: ignore[index,call-overload]
    assert "line 1" in browser_like.post(f"{path}/clone", data={"overrides": "no value"}).text
    assert "place 2 in the queue" in browser_like.post(f"{path}/retry").text
    browser_like.post(f"{path}/cancel")
    gone = browser_like.post(f"{path}/delete")
    assert gone.url.path == "/"
    assert browser_like.get(path).status_code == 404


def test_a_job_that_is_being_cancelled_can_be_killed_from_its_page(
    browser_like: httpx.Client, examples: Examples
) -> None:
    path = f"/jobs/{examples.running().job_id}"
    assert 'id="kill"' not in browser_like.get(path).text
    asked = browser_like.post(f"{path}/cancel").text
    assert 'id="kill"' in asked
    assert 'id="kill"' not in browser_like.post(f"{path}/cancel", data={"force": "true"}).text
