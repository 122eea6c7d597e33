import httpx
import pytest

from sdcn_core.config.presets import PRESETS

TINY = {"preset": "tiny"}


def test_a_job_is_accepted_with_its_place(api: httpx.Client) -> None:
    answer = api.post("/v1/jobs", json=TINY)
    job = answer.json()
    assert (answer.status_code, job["state"], job["kind"], job["name"]) == (202, "queued", "train", "tiny")
    assert answer.headers["Location"] == f"/v1/jobs/{job['id']}" == job["links"]["self"]
    assert api.get(answer.headers["Location"]).json() == job


def test_the_spec_in_the_answer_has_every_value(api: httpx.Client) -> None:
    job = api.post("/v1/jobs", json={"preset": "tiny", "overrides": {"objective.tau_0": 0.3}}).json()
    wanted = PRESETS["tiny"]().with_overrides({"objective.tau_0": 0.3})
    assert job["spec"]["experiment"] == wanted.model_dump(mode="json")
    assert job["config_digest"] == wanted.digest()


def test_times_are_iso_in_utc(api: httpx.Client) -> None:
    assert api.post("/v1/jobs", json=TINY).json()["created_at"].endswith("Z")


def test_a_key_sent_again_gets_the_same_job(api: httpx.Client) -> None:
    first = api.post("/v1/jobs", json=TINY, headers={"Idempotency-Key": "k"})
    again = api.post("/v1/jobs", content=b'{ "kind":"train","preset" : "tiny"}', headers=json_with_key("k"))
    assert "Idempotency-Replayed" not in first.headers
    assert (again.status_code, again.headers["Idempotency-Replayed"]) == (202, "true")
    assert again.json() == first.json()
    assert len(api.get("/v1/jobs").json()["jobs"]) == 1


def test_a_key_with_another_body_is_refused(api: httpx.Client) -> None:
    api.post("/v1/jobs", json=TINY, headers={"Idempotency-Key": "k"})
    answer = api.post("/v1/jobs", json={"preset": "scenes"}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 422
    assert "new key" in answer.json()["detail"]


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"\xe9t\xe9", b"tab\there"])
def test_a_key_that_is_no_key_is_refused_by_name(api: httpx.Client, key: bytes) -> None:
    answer = api.post("/v1/jobs", json=TINY, headers={b"Idempotency-Key": key})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == ["Idempotency-Key"]


def test_validating_answers_with_the_experiment_and_queues_nothing(api: httpx.Client) -> None:
    answer = api.post("/v1/jobs", params={"validate_only": "true"}, json={"preset": "voc2007_vgg16"})
    assert answer.status_code == 200
    assert answer.json()["total_steps"] == 86_000
    assert any("gpus_per_worker" in warning for warning in answer.json()["warnings"])
    assert api.get("/v1/jobs").json()["jobs"] == []


def test_validating_refuses_what_submitting_refuses(api: httpx.Client) -> None:
    wrong = {"preset": "tiny", "resources": {"num_workers": 3}}
    checked = api.post("/v1/jobs", params={"validate_only": "true"}, json=wrong)
    submitted = api.post("/v1/jobs", json=wrong)
    assert checked.status_code == submitted.status_code == 422
    assert checked.json()["errors"] == submitted.json()["errors"]


def json_with_key(key: str) -> dict[str, str]:
    return {"Content-Type": "application/json", "Idempotency-Key": key}
