"""Keys over REST: shown once, known by a digest, revoked at once."""

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from service.client import ApiProblem, SdcnClient
from service.jobs.access import KeySpec, Scope
from service.queue.keys import KeyRegister
from tests.service.access.conftest import GiveKey, Open
from tests.service.in_process import InProcess


@pytest.fixture
def admin(transport: InProcess, give_key: GiveKey) -> SdcnClient:
    return SdcnClient("http://localhost", key=give_key(Scope.ADMIN, name="root"), transport=transport)


def shows(transport: InProcess, key: str) -> SdcnClient:
    return SdcnClient("http://localhost", key=key, transport=transport)


def test_a_key_is_shown_once_and_only_its_digest_is_kept(admin: SdcnClient, register: KeyRegister) -> None:
    made = admin.create_key(KeySpec(name="ci", scope=Scope.SUBMIT))
    assert re.fullmatch(rf"sdcn_{made.id}_[A-Za-z0-9_\-]{{43}}", made.key)
    assert (made.scope, made.created_by) == (Scope.SUBMIT, "root")
    listed = list(admin.keys(page_size=1))
    assert [key.name for key in listed] == ["root", "ci"]
    assert made.key not in str(listed)
    secret = made.key.rpartition("_")[2]
    with register._transactions.engine.connect() as connection:
        kept = str(connection.execute(text("SELECT * FROM api_key")).all())
        kept += str(connection.execute(text("SELECT * FROM audit")).all())
    assert made.id in kept
    assert secret not in kept


def test_a_key_lets_in_until_it_is_revoked(admin: SdcnClient, transport: InProcess) -> None:
    made = admin.create_key(KeySpec(name="ci"))
    client = shows(transport, made.key)
    assert list(client.jobs()) == []
    admin.revoke_key(made.id)
    with pytest.raises(ApiProblem, match="was revoked") as refused:
        list(client.jobs())
    assert refused.value.status == 401
    admin.revoke_key(made.id)  # asking again changes nothing
    (_, revoked) = admin.keys()
    assert revoked.revoked_at is not None
    assert sum(entry.action == "key.revoke" for entry in admin.audit()) == 1


def test_a_key_lets_nobody_in_once_it_has_expired(
    admin: SdcnClient, transport: InProcess, register: KeyRegister
) -> None:
    made = admin.create_key(KeySpec(name="guest", valid_s=3600))
    assert made.expires_at is not None
    assert 3500 < (made.expires_at - datetime.now(UTC)).total_seconds() < 3700
    with register._transactions.engine.begin() as connection:
        connection.execute(text("UPDATE api_key SET expires_at = 1 WHERE name = 'guest'"))
    with pytest.raises(ApiProblem) as refused:
        list(shows(transport, made.key).jobs())
    assert refused.value.status == 401


def other_secret(key: str) -> str:
    return key[:-43] + "A" * 43


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer sdcn_", "Basic YTpi", "Bearer {other}", "Bearer {key}x", "{key}", "Token {key}"],
)
def test_what_is_no_good_key_lets_nobody_in(client_with: Open, give_key: GiveKey, header: str) -> None:
    key = give_key(Scope.ADMIN)
    with client_with(Authorization=header.format(key=key, other=other_secret(key))) as client:
        assert client.get("/v1/jobs").status_code == 401


def test_a_wrong_key_is_told_from_a_missing_one_and_not_repeated(client_with: Open, give_key: GiveKey) -> None:
    wrong = other_secret(give_key(Scope.ADMIN))
    with client_with(wrong) as client:
        answer = client.get("/v1/jobs")
    assert answer.headers["www-authenticate"] == 'Bearer realm="sdcn", error="invalid_token"'
    assert "A" * 43 not in answer.text + str(answer.headers)


def test_nobody_is_left_without_an_admin(admin: SdcnClient) -> None:
    (own,) = admin.keys()
    with pytest.raises(ApiProblem, match="make another first") as refused:
        admin.revoke_key(own.id)
    assert refused.value.status == 409
    admin.create_key(KeySpec(name="second", scope=Scope.ADMIN))
    admin.revoke_key(own.id)


def test_a_key_that_is_not_there_cannot_be_revoked(admin: SdcnClient, give_key: GiveKey) -> None:
    whole = give_key(Scope.READ)  # as somebody may paste it in the place of its id
    for absent in ("0" * 12, "x", whole):
        with pytest.raises(ApiProblem, match="no key has") as refused:
            admin.revoke_key(absent)
        assert refused.value.status == 404
        assert whole not in refused.value.detail


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "a" * 65},
        {"name": "a b"},
        {"name": "a\n"},
        {"name": "ci", "scope": "root"},
        {"name": "ci", "valid_s": 1},
        {"name": "ci", "valid_s": 10**12},
        {"name": "ci", "colour": 1},
    ],
)
def test_a_key_that_is_not_valid_is_refused(client_with: Open, give_key: GiveKey, body: dict[str, object]) -> None:
    with client_with(give_key(Scope.ADMIN)) as client:
        answer = client.post("/v1/keys", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_a_cursor_of_no_key_is_refused(client_with: Open, give_key: GiveKey) -> None:
    with client_with(give_key(Scope.ADMIN)) as client:
        assert client.get("/v1/keys", params={"cursor": "0" * 12}).status_code == 400
