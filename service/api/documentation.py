"""What OpenAPI says of errors: the framework's own page knows nothing of RFC 9457."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.api.policy import wanted_scope
from service.jobs.access import Scope
from service.jobs.answers import Problem

REFERENCE = "#/components/schemas/{model}"
SECURITY_SCHEME = "key"
_CONTENT = {"application/problem+json": {"schema": {"$ref": REFERENCE.format(model=Problem.__name__)}}}

_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "sdcn_<id>_<secret>",
    "description": "An API key. Its scope is read, submit or admin, and each may do all that those before it may. A"
    " service that was started with `sdcn up` is open on loopback and asks for none.",
}


def problems(**reasons: str) -> dict[int | str, dict[str, Any]]:
    """The problems an endpoint may answer with: status with a leading underscore -> when."""
    return {int(status[1:]): {"description": when, "content": _CONTENT} for status, when in reasons.items()}


def document_problems(app: FastAPI) -> None:
    """Have the OpenAPI document describe every error as a Problem."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            document["components"]["securitySchemes"] = {SECURITY_SCHEME: _SCHEME}
            _add_problems(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = describe  # type: ignore[method-assign]  # the documented way to change the document


def _add_problems(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    problem = Problem.model_json_schema(ref_template=REFERENCE)
    schemas.update(problem.pop("$defs"))
    schemas[Problem.__name__] = problem
    for name in ("HTTPValidationError", "ValidationError"):  # the framework's form, which is never sent
        schemas.pop(name, None)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            _add_access(operation, wanted_scope(method.upper(), path))
            responses = operation["responses"]
            if "422" in responses:
                responses["422"] = {"description": "A parameter or field is not valid", "content": _CONTENT}
            responses["default"] = {"description": "Any other problem", "content": _CONTENT}


def _add_access(operation: dict[str, Any], scope: Scope | None) -> None:
    """Say which key an operation needs, and what is answered without."""
    operation["security"] = [] if scope is None else [{SECURITY_SCHEME: [scope]}]
    if scope is None:
        return
    responses = operation["responses"]
    responses["401"] = {
        "description": "No valid key was sent",
        "content": _CONTENT,
        "headers": {"WWW-Authenticate": {"schema": {"type": "string"}}},
    }
    responses["429"] = {
        "description": "The key asks too often, or has as many jobs waiting as it may",
        "content": _CONTENT,
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}},
    }
    elsewhere = responses.get("403", {}).get("description")
    small = f"the key is not of scope {scope}"
    if scope is not Scope.READ or elsewhere:
        responses["403"] = {"description": f"{elsewhere}, or {small}" if elsewhere else small, "content": _CONTENT}
