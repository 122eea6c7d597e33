"""What OpenAPI says of errors: the framework's own page knows nothing of RFC 9457."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.jobs.answers import Problem

REFERENCE = "#/components/schemas/{model}"
_CONTENT = {"application/problem+json": {"schema": {"$ref": REFERENCE.format(model=Problem.__name__)}}}


def problems(**reasons: str) -> dict[int | str, dict[str, Any]]:
    """The problems an endpoint may answer with: status with a leading underscore -> when."""
    return {int(status[1:]): {"description": when, "content": _CONTENT} for status, when in reasons.items()}


def document_problems(app: FastAPI) -> None:
    """Have the OpenAPI document describe every error as a Problem."""

    def describe() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
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
    for path in document["paths"].values():
        for operation in path.values():
            responses = operation["responses"]
            if "422" in responses:
                responses["422"] = {"description": "A parameter or field is not valid", "content": _CONTENT}
            responses["default"] = {"description": "Any other problem", "content": _CONTENT}
