"""Every change that a client makes leaves a line, in the change's own transaction, that says who made it."""

import re
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from service.client import SdcnClient
from service.jobs.access import Action, KeySpec, Scope
from service.queue.audit import AuditLog
from service.queue.repository import JobQueue
from tests.service.access.conftest import GiveKey
from tests.service.in_process import InProcess

TINY = {"kind": "train", "preset": "tiny"}
ANIMALS = {"name": "animals", "source": {"kind": "voc", "path": "animals"}}
NO_CHANGE = {("POST", "/v1/models/{model_id}/predict")}
"""routes with a method of changes that change nothing"""


@pytest.fixture
def admin(transport: InProcess, give_key: GiveKey) -> httpx.Client:
    key = give_key(Scope.ADMIN, name="ada")
    return httpx.Client(transport=transport, base_url="http://localhost", headers={"Authorization": f"Bearer {key}"})


class Changes:
    """One of each change that the API offers, in an order in which each is possible."""

    def __init__(self, client: httpx.Client, queue: JobQueue) -> None:
        self.client = client
        self.queue = queue
        self.done: set[tuple[str, str]] = set()

    def make(self, method: str, template: str, body: Any = None, **parameters: str) -> httpx.Response:
        answer = self.client.request(method, template.format(**parameters), json=body)
        assert answer.is_success, (template, answer.text)
        self.done.add((method, template))
        return answer

    def all(self) -> list[tuple[str, str]]:
        """Make them; the action and subject of each line that there must be, oldest first."""
        job = self.make("POST", "/v1/jobs", TINY).json()["id"]
        clone = self.make("POST", "/v1/jobs/{job_id}/clone", {"changes": {}}, job_id=job).json()["id"]
        self.make("PATCH", "/v1/jobs/{job_id}", {"priority": 3}, job_id=job)
        for verb in ("pause", "resume", "cancel", "retry", "cancel"):
            self.make("POST", f"/v1/jobs/{{job_id}}/{verb}", job_id=job)
        self.make("DELETE", "/v1/jobs/{job_id}", job_id=job)
        check = self.make("POST", "/v1/datasets", ANIMALS).json()["job_id"]
        self.make("POST", "/v1/datasets/{name}/check", name="animals")
        self.queue.request_cancel(check)
        self.make("DELETE", "/v1/datasets/{name}", name="animals")
        hook = self.make("POST", "/v1/webhooks", {"url": "https://example.org/hook"}).json()["id"]
        self.make("DELETE", "/v1/webhooks/{webhook_id}", webhook_id=hook)
        key = self.make("POST", "/v1/keys", {"name": "ci"}).json()["id"]
        self.make("DELETE", "/v1/keys/{key_id}", key_id=key)
        return [
            ("job.submit", job),
            ("job.submit", clone),
            ("job.priority", job),
            ("job.pause", job),
            ("job.resume", job),
            ("job.cancel", job),
            ("job.retry", job),
            ("job.cancel", job),
            ("job.delete", job),
            ("dataset.add", "animals"),
            ("dataset.check", "animals"),
            ("dataset.remove", "animals"),
            ("webhook.add", hook),
            ("webhook.remove", hook),
            ("key.create", key),
            ("key.revoke", key),
        ]


def test_every_change_of_the_api_is_told_once_and_by_whom(
    app: FastAPI, admin: httpx.Client, transport: InProcess
) -> None:
    changes = Changes(admin, app.state.queue)
    expected = changes.all()
    offered = {
        (method.upper(), path)
        for path, operations in app.openapi()["paths"].items()
        for method in operations
        if method not in ("get", "head")
    }
    assert changes.done | NO_CHANGE == offered
    entries = [entry for entry in admin.get("/v1/audit", params={"limit": 200}).json()["entries"] if entry["key_id"]]
    told = [(entry["action"], entry["subject"]) for entry in reversed(entries)]
    assert told == expected
    assert {entry["key_name"] for entry in entries} == {"ada"}
    assert {action for action, _ in told} | {Action.SIGN_IN} == set(Action)


def test_a_deleted_job_leaves_what_was_done_to_it(app: FastAPI, admin: httpx.Client) -> None:
    job = admin.post("/v1/jobs", json=TINY | {"name": "mine"}).json()["id"]
    admin.post(f"/v1/jobs/{job}/cancel")
    assert admin.delete(f"/v1/jobs/{job}").status_code == 204
    assert admin.get(f"/v1/jobs/{job}").status_code == 404
    deleted, cancelled, submitted = admin.get("/v1/audit", params={"subject": job}).json()["entries"]
    assert (deleted["action"], deleted["key_name"]) == ("job.delete", "ada")
    assert deleted["details"] == {"kind": "train", "name": "mine", "state": "cancelled", "attempts": 0}
    assert (cancelled["action"], submitted["action"]) == ("job.cancel", "job.submit")


def test_what_was_refused_or_only_repeated_leaves_no_line(app: FastAPI, admin: httpx.Client) -> None:
    for _ in range(2):
        job = admin.post("/v1/jobs", json=TINY, headers={"Idempotency-Key": "one"}).json()["id"]
    assert admin.post("/v1/jobs", json={"preset": "none"}).status_code == 422
    assert admin.post(f"/v1/jobs/{job}/retry").status_code == 409
    audit: AuditLog = app.state.audit
    assert [entry.action for entry in audit.page(limit=10).entries] == [Action.JOB_SUBMIT, Action.KEY_CREATE]


def test_pages_lead_through_all_of_it(transport: InProcess, give_key: GiveKey) -> None:
    client = SdcnClient("http://localhost", key=give_key(Scope.ADMIN, name="ada"), transport=transport)
    for number in range(4):
        client.create_key(KeySpec(name=f"k{number}"))
    told = [entry.details["name"] for entry in client.audit(page_size=2)]
    assert told == ["k3", "k2", "k1", "k0", "ada"]
    assert [entry.key_name for entry in client.audit()] == ["ada"] * 4 + ["local"]
    assert len({entry.id for entry in client.audit(page_size=1)}) == 5


def test_signing_in_is_told(client_with: Any, give_key: GiveKey, app: FastAPI) -> None:
    key = give_key(Scope.READ, name="eve")
    client_with().post("/sign-in", data={"key": key})
    audit: AuditLog = app.state.audit
    newest = audit.page(limit=1).entries[0]
    assert (newest.action, newest.key_name) == (Action.SIGN_IN, "eve")
    assert re.fullmatch(r"[0-9a-f]{12}", newest.subject)
