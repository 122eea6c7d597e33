"""What can be done to a job that is there, over HTTP."""

import httpx
import pytest

from service.jobs.capacity import Capacity
from service.jobs.states import FailureReason
from service.queue.records import Claim, Settlement
from service.queue.repository import JobQueue

TINY = {"preset": "tiny"}


def submit(api: httpx.Client, **fields: object) -> str:
    answer = api.post("/v1/jobs", json=TINY | fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def job_id(api: httpx.Client) -> str:
    return submit(api)


def claimed(jobs: JobQueue) -> Claim:
    claim = jobs.claim("w", lease_s=30)
    assert claim is not None
    jobs.start(claim)
    return claim


def failed(jobs: JobQueue) -> None:
    jobs.settle(claimed(jobs), Settlement.failed(FailureReason.DIVERGED, "nan"))


def test_a_waiting_job_is_paused_and_resumed(api: httpx.Client, job_id: str) -> None:
    paused = api.post(f"/v1/jobs/{job_id}/pause")
    assert (paused.status_code, paused.json()["state"], paused.json()["desired"]) == (202, "paused", "pause")
    resumed = api.post(f"/v1/jobs/{job_id}/resume")
    assert (resumed.status_code, resumed.json()["state"], resumed.json()["desired"]) == (202, "queued", "run")


def test_a_forced_cancel_is_wanted_as_a_kill(api: httpx.Client, jobs: JobQueue, job_id: str) -> None:
    claimed(jobs)
    assert api.post(f"/v1/jobs/{job_id}/cancel").json()["desired"] == "cancel"
    assert api.post(f"/v1/jobs/{job_id}/cancel?force=true").json()["desired"] == "kill"


def test_a_failed_job_is_tried_again_as_the_same_job(api: httpx.Client, jobs: JobQueue, job_id: str) -> None:
    failed(jobs)
    again = api.post(f"/v1/jobs/{job_id}/retry").json()
    assert (again["id"], again["state"], again["failure"], again["attempt"]) == (job_id, "queued", None, 1)
    assert claimed(jobs).attempt == 2


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_what_has_ended_is_refused_with_the_way_out(api: httpx.Client, jobs: JobQueue, job_id: str, verb: str) -> None:
    failed(jobs)
    refused = api.post(f"/v1/jobs/{job_id}/{verb}")
    assert (refused.status_code, refused.json()["title"]) == (409, "The job has already ended")
    assert f"POST /v1/jobs/{job_id}/retry" in refused.json()["detail"]


def test_a_retry_of_what_has_not_failed_is_refused(api: httpx.Client, jobs: JobQueue, job_id: str) -> None:
    waiting = api.post(f"/v1/jobs/{job_id}/retry")
    assert (waiting.status_code, waiting.json()["title"]) == (409, "The job is busy")
    jobs.settle(claimed(jobs), Settlement.succeeded({}))
    succeeded = api.post(f"/v1/jobs/{job_id}/retry")
    assert succeeded.status_code == 409
    assert "clone it" in succeeded.json()["detail"]


def test_a_clone_is_a_new_job_with_what_differs_and_its_lineage(api: httpx.Client, job_id: str) -> None:
    changes = {"name": "softer", "overrides": {"objective.tau_0": 0.3}, "resources": {"cpus_per_worker": 1}}
    clone = api.post(f"/v1/jobs/{job_id}/clone", json={"changes": changes})
    assert clone.status_code == 202
    made = clone.json()
    assert clone.headers["Location"] == f"/v1/jobs/{made['id']}"
    assert made["id"] != job_id
    assert (made["cloned_from"], made["name"]) == (job_id, "softer")
    assert made["spec"]["experiment"]["objective"]["tau_0"] == 0.3
    assert made["spec"]["resources"] == {"num_workers": 1, "cpus_per_worker": 1, "gpus_per_worker": 0}
    source = api.get(f"/v1/jobs/{job_id}").json()
    assert source["spec"]["experiment"]["objective"]["tau_0"] != 0.3
    assert made["config_digest"] != source["config_digest"]


def test_a_clone_without_changes_asks_for_the_same(api: httpx.Client, job_id: str) -> None:
    made = api.post(f"/v1/jobs/{job_id}/clone", json={}).json()
    assert made["spec"] == api.get(f"/v1/jobs/{job_id}").json()["spec"]


def test_a_clone_with_a_key_is_made_once(api: httpx.Client, job_id: str) -> None:
    headers = {"Idempotency-Key": "k"}
    first, second = (api.post(f"/v1/jobs/{job_id}/clone", json={}, headers=headers) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["Idempotency-Replayed"] == "true"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "predict"}, "changes.kind"),
        ({"overrides": {"objective.tau_0": -1}}, "overrides.objective.tau_0"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_change_that_makes_no_valid_job_is_named(
    api: httpx.Client, job_id: str, changes: dict[str, object], field: str
) -> None:
    refused = api.post(f"/v1/jobs/{job_id}/clone", json={"changes": changes})
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [field]


def test_the_priority_of_a_waiting_job_decides_who_is_first(api: httpx.Client, jobs: JobQueue, job_id: str) -> None:
    later = submit(api)
    changed = api.patch(f"/v1/jobs/{later}", json={"priority": 7})
    assert (changed.status_code, changed.json()["priority"]) == (200, 7)
    assert claimed(jobs).job_id == later
    refused = api.patch(f"/v1/jobs/{later}", json={"priority": 1})
    assert (refused.status_code, refused.json()["title"]) == (409, "The job is busy")
    assert api.patch(f"/v1/jobs/{job_id}", json={"priority": 101}).status_code == 422


def test_a_job_that_has_ended_is_forgotten(api: httpx.Client, jobs: JobQueue, job_id: str) -> None:
    refused = api.delete(f"/v1/jobs/{job_id}")
    assert refused.status_code == 409
    assert f"POST /v1/jobs/{job_id}/cancel" in refused.json()["detail"]
    failed(jobs)
    assert api.delete(f"/v1/jobs/{job_id}").status_code == 204
    assert api.get(f"/v1/jobs/{job_id}").status_code == 404
    assert [deletion.job_id for deletion in jobs.deletions()] == [job_id]


def test_a_job_that_another_waits_for_is_kept(api: httpx.Client, jobs: JobQueue, job_id: str) -> None:
    waiting = submit(api, after=[job_id])
    jobs.settle(claimed(jobs), Settlement.succeeded({}))
    refused = api.delete(f"/v1/jobs/{job_id}")
    assert (refused.status_code, refused.json()["title"]) == (409, "The job is still needed")
    assert waiting in refused.json()["detail"]
    api.post(f"/v1/jobs/{waiting}/cancel")
    assert api.delete(f"/v1/jobs/{job_id}").status_code == 204


def test_the_newest_check_of_a_data_set_is_kept(api: httpx.Client, jobs: JobQueue) -> None:
    check = api.post("/v1/datasets", json={"name": "animals", "source": {"kind": "scenes"}}).json()["job_id"]
    failed(jobs)
    refused = api.delete(f"/v1/jobs/{check}")
    assert refused.status_code == 409
    assert "POST /v1/datasets/animals/check" in refused.json()["detail"]


def test_a_job_says_where_it_stands_and_what_it_waits_for(api: httpx.Client, jobs: JobQueue, job_id: str) -> None:
    def queue_of(job: str) -> tuple[int | None, list[str]]:
        found = api.get(f"/v1/jobs/{job}").json()["queue"]
        return found["position"], [reason["kind"] for reason in found["waiting_on"]]

    second, blocked = submit(api), submit(api, after=[job_id])
    assert queue_of(job_id) == (1, ["worker"])
    jobs.announce("w", Capacity.of_machine(cpus=4, gpus=0), ttl_s=60)
    assert queue_of(job_id) == (1, [])
    assert queue_of(second) == (2, ["turn"])
    assert queue_of(blocked) == (None, ["dependency"])
    api.post(f"/v1/jobs/{second}/pause")
    assert queue_of(second) == (None, ["pause"])
    jobs.settle(claimed(jobs), Settlement.retry(FailureReason.LOST_WORKER, "gone"))
    assert queue_of(job_id) == (1, ["back_off"])
    claimed_or_ended = api.post(f"/v1/jobs/{job_id}/cancel").json()
    assert claimed_or_ended["queue"] is None


def test_more_than_the_workers_have_is_refused_and_without_workers_it_is_warned_of(
    api: httpx.Client, jobs: JobQueue
) -> None:
    asked = TINY | {"resources": {"gpus_per_worker": 1}}
    warnings = api.post("/v1/jobs?validate_only=true", json=asked).json()["warnings"]
    assert any("no worker is there" in warning for warning in warnings)
    jobs.announce("w", Capacity.of_machine(cpus=4, gpus=0), ttl_s=60)
    refused = api.post("/v1/jobs", json=asked)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "resources"
    assert "4 CPUs, 0 GPUs" in refused.json()["detail"]
    shared = Capacity(nodes=Capacity.of_machine(cpus=4, gpus=0).nodes, grows=True)
    jobs.announce("w", shared, ttl_s=60)
    assert api.post("/v1/jobs", json=asked).status_code == 202


def test_a_job_waits_for_others_to_succeed(api: httpx.Client, jobs: JobQueue, job_id: str) -> None:
    waiting = submit(api, after=[job_id])
    assert api.get(f"/v1/jobs/{waiting}").json()["state"] == "blocked"
    judged = {"kind": "evaluate", "model": job_id, "after": [job_id]}
    assert api.post("/v1/jobs", json=judged).json()["state"] == "blocked"  # its model comes later
    jobs.settle(claimed(jobs), Settlement.succeeded({}))
    assert api.get(f"/v1/jobs/{waiting}").json()["state"] == "queued"
    unknown = api.post("/v1/jobs", json=TINY | {"after": ["ff"]})
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "after.0")
