from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from pydantic import JsonValue

from service.jobs.progress import JobProgress
from service.jobs.results import TrainResults
from service.jobs.states import FailureReason
from service.jobs.ways_out import WAYS_OUT
from service.queue.records import Claim, Settlement
from service.queue.repository import JobQueue

JUDGEMENT: dict[str, JsonValue] = {
    "ap": {"car": 0.5, "cat": None},
    "mean_ap": 0.5,
    "corloc": {"car": 0.25, "cat": 1.0},
    "mean_corloc": 0.625,
    "num_test_images": 8,
    "num_train_images": 12,
    "seconds_per_image": 0.25,
}
RESULTS: dict[str, JsonValue] = {
    "classes": ["car", "cat"],
    "trained": JUDGEMENT,
    "untrained": None,
    "chance": JUDGEMENT,
}
"""as an earlier version stored them, before pixels and error modes were judged"""
WHOLE_RESULTS = TrainResults.model_validate(RESULTS).model_dump(mode="json")


@pytest.fixture
def job_id(api: httpx.Client) -> str:
    return str(api.post("/v1/jobs", json={"preset": "tiny"}).json()["id"])


def start(jobs: JobQueue) -> Claim:
    claim = jobs.claim("worker-1", lease_s=30)
    assert claim is not None
    jobs.start(claim, pid=42)
    jobs.begin_running(claim)
    return claim


def test_a_running_job_tells_its_progress_and_its_run(api: httpx.Client, jobs: JobQueue, job_id: str) -> None:
    claim = start(jobs)
    jobs.attach_tracking(job_id, "abc123")
    report = JobProgress(
        stage="loop", step=4, stage_steps=6, fraction=0.75, eta_s=3, global_step=14, updated_at=datetime.now(UTC)
    )
    jobs.record_progress(claim, report)
    job = api.get(f"/v1/jobs/{job_id}").json()
    assert (job["state"], job["progress"]["stage"], job["progress"]["eta_s"]) == ("running", "loop", 3)
    url = "http://mlflow.test/#/runs/abc123?workflowType=machine_learning"
    assert job["mlflow"] == {"run_id": "abc123", "url": url}
    assert (job["attempts"][0]["worker_id"], job["attempts"][0]["pid"]) == ("worker-1", 42)


def test_a_failed_job_says_why(api: httpx.Client, jobs: JobQueue, job_id: str) -> None:
    jobs.settle(start(jobs), Settlement.failed(FailureReason.BAD_INPUT, "a.xml has no objects"))
    job = api.get(f"/v1/jobs/{job_id}").json()
    way_out = WAYS_OUT[FailureReason.BAD_INPUT]
    assert job["failure"] == {"reason": "bad_input", "message": "a.xml has no objects", "way_out": way_out}
    assert job["attempts"][0]["failure"] == job["failure"]
    answer = api.get(f"/v1/jobs/{job_id}/results")
    assert answer.status_code == 409
    assert "a.xml has no objects" in answer.json()["detail"]


def test_results_are_there_once_the_job_has_succeeded(api: httpx.Client, jobs: JobQueue, job_id: str) -> None:
    early = api.get(f"/v1/jobs/{job_id}/results")
    assert early.status_code == 409
    assert "it is queued; ask again" in early.json()["detail"]
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    answer = api.get(f"/v1/jobs/{job_id}/results")
    assert answer.status_code == 200
    assert answer.json() == WHOLE_RESULTS


def test_files_of_a_run_are_listed_relative_to_the_home(api: httpx.Client, job_id: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / job_id / "artifacts"
    folder.mkdir(parents=True)
    (folder / "detections.png").write_bytes(b"")
    assert api.get(f"/v1/jobs/{job_id}").json()["artifacts"] == [f"runs/{job_id}/artifacts/detections.png"]


def test_cancelling_is_idempotent_until_the_job_has_ended_otherwise(
    api: httpx.Client, jobs: JobQueue, job_id: str
) -> None:
    claim = start(jobs)
    for _ in range(2):
        answer = api.post(f"/v1/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["state"], answer.json()["desired"]) == (202, "running", "cancel")
    jobs.settle(claim, Settlement.succeeded(RESULTS))
    late = api.post(f"/v1/jobs/{job_id}/cancel")
    assert late.status_code == 409
    assert "already succeeded" in late.json()["detail"]


def test_a_cancelled_job_may_be_cancelled_again(api: httpx.Client, job_id: str) -> None:
    assert [api.post(f"/v1/jobs/{job_id}/cancel").status_code for _ in range(2)] == [202, 202]


@pytest.mark.parametrize("job_id", ["ffff", "NOT-AN-ID", "%00", "a" * 65, "..%2f..%2fpresets", "%F0%9F%90%88"])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("GET", "/results"), ("POST", "/cancel")])
def test_a_job_that_does_not_exist_is_a_problem(api: httpx.Client, job_id: str, method: str, rest: str) -> None:
    answer = api.request(method, f"/v1/jobs/{job_id}{rest}")
    assert answer.status_code in {404, 422}
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_pages_follow_each_other_to_the_last(api: httpx.Client) -> None:
    made = [api.post("/v1/jobs", json={"preset": "tiny"}).json()["id"] for _ in range(5)]
    seen, cursor = [], None
    while True:
        page = api.get("/v1/jobs", params={"limit": "2"} | ({"cursor": cursor} if cursor else {})).json()
        seen += [job["id"] for job in page["jobs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)


def test_a_list_can_ask_for_several_states(api: httpx.Client, job_id: str) -> None:
    cancelled = api.post("/v1/jobs", json={"preset": "tiny"}).json()["id"]
    api.post(f"/v1/jobs/{cancelled}/cancel")

    def listed(query: str) -> set[str]:
        return {job["id"] for job in api.get(f"/v1/jobs?{query}").json()["jobs"]}

    assert listed("state=cancelled") == {cancelled}
    assert listed("state=cancelled&state=queued&kind=train") == {cancelled, job_id}


@pytest.mark.parametrize("cursor", ["x", "AAAA", "é", "MTcwMDAwMDAwMDAwMC5aWg", "a" * 200])
def test_a_cursor_of_somebody_else_is_refused(api: httpx.Client, cursor: str) -> None:
    answer = api.get("/v1/jobs", params={"cursor": cursor})
    assert answer.status_code == 400
    assert "next_cursor" in answer.json()["detail"]


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "state=asleep", "kind=dance", "stat=queued"])
def test_a_wrong_or_unknown_parameter_is_named(api: httpx.Client, query: str) -> None:
    answer = api.get(f"/v1/jobs?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].split(".")[0] == query.split("=")[0]


def test_presets_are_listed_with_a_sentence_each(api: httpx.Client) -> None:
    presets = api.get("/v1/presets").json()["presets"]
    kinds = {preset["name"]: preset["kind"] for preset in presets}
    named = {"scenes": "train", "table-2": "ablation", "figure-5": "sweep", "fast_rcnn": "second_stage"}
    assert {name: kinds.get(name) for name in named} == named
    assert all(preset["description"].endswith(".") and "\n" not in preset["description"] for preset in presets)


def test_a_second_stage_is_no_preset_of_a_training(api: httpx.Client) -> None:
    answer = api.post("/v1/jobs", json={"preset": "fast_rcnn"})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["field"] == "preset"
    assert "submit a job of kind second_stage" in error["message"]
