"""Every error as application/problem+json (RFC 9457), none with a traceback."""

import re
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.errors import FieldProblem, ServiceError
from service.jobs.answers import FieldRead, Problem
from service.jobs.refusals import field_problems

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
MODEL_ID = re.escape("{model_id}")
"""the one parameter that may hold a slash"""


def problem_response(
    status: int,
    detail: str,
    *,
    title: str | None = None,
    fields: tuple[FieldProblem, ...] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    problem = Problem(
        title=title or HTTPStatus(status).phrase,
        status=status,
        detail=_encodable(detail),
        request_id=structlog.contextvars.get_contextvars().get("request_id"),
        errors=tuple(FieldRead(field=_encodable(f.field), message=_encodable(f.message)) for f in fields),
    )
    return Response(problem.model_dump_json(), status_code=status, headers=headers, media_type=MEDIA_TYPE)


def _encodable(text: str) -> str:
    """The text with half surrogates replaced: JSON may carry one in a field's name, UTF-8 may not."""
    return text.encode("utf-8", "replace").decode("utf-8")


def handle_problems(app: FastAPI) -> None:
    """Have every error that reaches the framework answered as a problem."""
    app.add_exception_handler(ServiceError, _service_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_exception)


async def _service_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ServiceError)
    return service_problem(error)


def service_problem(error: ServiceError) -> Response:
    """The answer to what the service refuses or cannot do."""
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("request.failed", error=type(error).__name__, detail=error.detail)
    if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return internal_error()
    retry_after_s = error.retry_after_s or (5 if error.status == HTTPStatus.SERVICE_UNAVAILABLE else None)
    headers = None if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return problem_response(error.status, error.detail, title=error.title, fields=error.fields, headers=headers)


async def _validation_error(_request: Request, error: Exception) -> Response:
    """Say which fields; a location begins with where the value was: body, query, header or path."""
    assert isinstance(error, RequestValidationError)
    details = [{**raw, "loc": raw["loc"][1:]} for raw in error.errors()]
    fields = field_problems(details)  # type: ignore[arg-type]  # FastAPI types its errors as Any
    sentences = "; ".join(f"{f.field}: {f.message}" if f.field else f.message for f in fields[:5])
    more = f"; and {len(fields) - 5} more" if len(fields) > 5 else ""
    return problem_response(422, sentences + more, title="The request is not valid", fields=fields[:100])


async def _http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            detail = f"nothing is at {request.url.path}; /docs lists what there is"
        case HTTPStatus.METHOD_NOT_ALLOWED:
            known = {name.strip() for name in headers.get("Allow", "").split(",") if name.strip()}
            headers["Allow"] = ", ".join(sorted(known | _methods(request)))
            detail = f"{request.method} is not possible at {request.url.path}; it answers to {headers['Allow']}"
        case _:
            detail = str(error.detail)
    return problem_response(error.status_code, detail, headers=headers)


def _methods(request: Request) -> set[str]:
    """All methods of the path; the framework knows only those of the first route that fits."""
    described = request.app.openapi()["paths"]
    path = request.url.path
    return {
        method.upper()
        for template, operations in described.items()
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template).replace(MODEL_ID, ".+")), path)
        for method in operations
    }


def internal_error() -> Response:
    """500: nothing about the inside, but the request's id to find it in the log."""
    return problem_response(500, "the service failed on this request; its log tells more under the request id")
