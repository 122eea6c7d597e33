"""No route answers without a key, whoever adds it: those that there are, and those that are not."""

import asyncio
import re
from collections.abc import Iterator

import httpx
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, WebSocketRoute
from starlette.types import Message
from starlette.websockets import WebSocket

from service.jobs.access import Scope
from service.jobs.answers import Problem
from tests.service.access.conftest import GiveKey, Open

OPEN = {("GET", "/healthz"), ("GET", "/sign-in"), ("POST", "/sign-in"), ("GET", "/static/style.css")}
"""all that a client without a key is answered"""
SAFE = ("GET", "HEAD", "OPTIONS")
ADMIN = {
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("DELETE", "/v1/keys/0"),
    ("GET", "/v1/audit"),
    ("POST", "/v1/webhooks"),
    ("DELETE", "/v1/webhooks/0"),
}
"""all that a key of scope submit is refused"""
CHANGES_FOR_READERS = {("POST", "/sign-in"), ("POST", "/sign-out")}
FRAMEWORKS = {("GET", "/openapi.json"), ("GET", "/docs")}


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Every method and path that the application answers to, parameters filled in."""
    return {(method, re.sub(r"\{[^}]*\}", "0", path)) for path, methods in _walk(app) for method in methods - {"HEAD"}}


def _walk(app: FastAPI) -> Iterator[tuple[str, set[str]]]:
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, Mount):
            yield f"{route.path}/style.css", {"GET"}
        else:
            assert route.path is not None, f"a kind of route that is not walked: {route!r}"
            assert route.methods is not None, f"a kind of route that is not walked: {route!r}"
            yield route.path, set(route.methods)


def of(problem: httpx.Response) -> Problem:
    assert problem.headers["content-type"] == "application/problem+json"
    return Problem.model_validate_json(problem.content)


def test_the_walk_finds_the_routes_of_the_document_the_pages_and_the_framework(app: FastAPI) -> None:
    found = routes_of(app)
    described = {
        (method.upper(), re.sub(r"\{[^}]*\}", "0", path))
        for path, operations in app.openapi()["paths"].items()
        for method in operations
    }
    assert described <= found
    assert found >= OPEN | ADMIN | FRAMEWORKS | CHANGES_FOR_READERS
    assert ("POST", "/jobs/0/cancel") in found


def test_without_a_key_every_route_but_four_answers_401_with_the_way_in(app: FastAPI, client_with: Open) -> None:
    with client_with() as client:
        for method, path in sorted(routes_of(app) - OPEN):
            answer = client.request(method, path)
            assert answer.status_code == 401, (method, path)
            assert answer.headers["www-authenticate"] == 'Bearer realm="sdcn"'
            assert "python -m service.keys create" in of(answer).detail
        for method, path in sorted(OPEN):
            expected = 401 if method == "POST" else 200  # the form says that nothing was typed
            assert client.request(method, path).status_code == expected, (method, path)


def test_what_is_not_there_answers_401_too(client_with: Open) -> None:
    paths = ("/nowhere", "/v1/jobs/", "//v1/jobs", "/static", "/HEALTHZ", "/healthz/", "/v1/keys")
    with client_with() as client:
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY"):
            for path in paths:
                assert client.request(method, f"http://localhost{path}").status_code == 401, (method, path)


def test_a_websocket_is_closed_before_anything_looks_at_it(app: FastAPI) -> None:
    async def chat(websocket: WebSocket) -> None:
        await websocket.accept()

    async def connect() -> Message:
        return {"type": "websocket.connect"}

    async def note(message: Message) -> None:
        said.append(message)

    said: list[Message] = []
    app.router.routes.append(WebSocketRoute("/chat", chat))
    asyncio.run(app({"type": "websocket", "path": "/chat", "headers": []}, connect, note))
    assert said == [{"type": "websocket.close", "code": 1008}]


def test_no_way_leads_through_the_open_folder(client_with: Open) -> None:
    with client_with() as client:
        for path in (b"/static/../v1/jobs", b"/static/%2e%2e/v1/jobs", b"/static//../v1/jobs"):
            answer = client.get(httpx.URL("http://localhost").copy_with(raw_path=path))
            assert answer.status_code in (401, 404), path


def test_a_key_that_may_read_changes_nothing(app: FastAPI, client_with: Open, give_key: GiveKey) -> None:
    with client_with(give_key(Scope.READ)) as client:
        for method, path in sorted(routes_of(app) - OPEN):
            status = client.request(method, path).status_code
            if (method, path) in ADMIN or (method not in SAFE and (method, path) not in CHANGES_FOR_READERS):
                assert status == 403, (method, path)
            else:
                assert status not in (401, 403), (method, path)


def test_a_key_that_may_submit_does_all_but_what_is_for_admins(
    app: FastAPI, client_with: Open, give_key: GiveKey
) -> None:
    with client_with(give_key(Scope.SUBMIT)) as client:
        for method, path in sorted(routes_of(app) - OPEN):
            answer = client.request(method, path)
            if (method, path) in ADMIN:
                assert answer.status_code == 403, (method, path)
                assert 'error="insufficient_scope", scope="admin"' in answer.headers["www-authenticate"]
                assert "ask an admin" in of(answer).detail
            else:
                assert answer.status_code not in (401, 403), (method, path)


def test_an_admin_is_refused_nothing(app: FastAPI, client_with: Open, give_key: GiveKey) -> None:
    with client_with(give_key(Scope.ADMIN)) as client:
        for method, path in sorted(routes_of(app)):
            if (method, path) != ("POST", "/sign-in"):
                assert client.request(method, path).status_code not in (401, 403), (method, path)


def test_the_document_says_of_each_operation_which_key_it_needs(app: FastAPI) -> None:
    document = app.openapi()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = (method.upper(), re.sub(r"\{[^}]*\}", "0", path))
            if where in OPEN:
                assert operation["security"] == []
                assert "401" not in operation["responses"]
                continue
            scope = "admin" if where in ADMIN else "read" if where[0] in SAFE else "submit"
            assert operation["security"] == [{"key": [scope]}], where
            assert "401" in operation["responses"]
            assert ("403" in operation["responses"]) == (scope != "read"), where
