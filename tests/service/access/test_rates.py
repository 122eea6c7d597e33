"""A key that asks too often is told when to ask again."""

from fastapi import FastAPI

from service.api.buckets import Buckets
from service.jobs.access import KeySpec, Scope
from service.queue.keys import KeyRegister
from tests.service.access.conftest import GiveKey, Open


def test_a_bucket_holds_a_seconds_worth_and_fills_at_its_rate() -> None:
    now = [0.0]
    buckets = Buckets(clock=lambda: now[0])
    assert [buckets.wait_s("a", 2) for _ in range(3)] == [0, 0, 0.5]
    assert buckets.wait_s("b", 2) == 0
    now[0] = 0.5
    assert [buckets.wait_s("a", 2) for _ in range(2)] == [0, 0.5]
    now[0] = 1000
    assert [buckets.wait_s("a", 2) > 0 for _ in range(3)] == [False, False, True]


def test_a_slow_rate_still_lets_one_through() -> None:
    now = [0.0]
    buckets = Buckets(clock=lambda: now[0])
    assert [buckets.wait_s("a", 0.1) for _ in range(2)] == [0, 10]
    now[0] = 10
    assert buckets.wait_s("a", 0.1) == 0


def test_who_asks_too_often_gets_429_and_when_to_come_back(register: KeyRegister, client_with: Open) -> None:
    _, token = register.create(KeySpec(name="hasty", requests_per_s=0.001))
    with client_with(token.text) as client:
        assert client.get("/v1/jobs").status_code == 200
        refused = client.get("/v1/jobs")
        assert client.get("/healthz").status_code == 200
    assert refused.status_code == 429
    assert 900 < int(refused.headers["retry-after"]) <= 1000
    assert refused.json()["title"] == "Too many requests"


def test_a_submit_beyond_the_quota_gets_429_and_makes_no_job(
    app: FastAPI, register: KeyRegister, client_with: Open, give_key: GiveKey
) -> None:
    _, token = register.create(KeySpec(name="ci", scope=Scope.SUBMIT, max_queued_jobs=1))
    tiny = {"kind": "train", "preset": "tiny"}
    with client_with(token.text) as client:
        assert client.post("/v1/jobs", json=tiny, headers={"Idempotency-Key": "a"}).status_code == 202
        refused = client.post("/v1/jobs", json=tiny)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "30"
        assert "cancel one" in refused.json()["detail"]
        replayed = client.post("/v1/jobs", json=tiny, headers={"Idempotency-Key": "a"})
        assert (replayed.status_code, replayed.headers["idempotency-replayed"]) == (202, "true")
        assert len(client.get("/v1/jobs").json()["jobs"]) == 1
    with client_with(give_key(Scope.SUBMIT)) as other:
        assert other.post("/v1/jobs", json=tiny).status_code == 202
