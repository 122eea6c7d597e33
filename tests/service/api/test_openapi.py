"""Requests that schemathesis makes up from the OpenAPI document, valid and not, are answered as the document says."""

from contextlib import suppress
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.service.server import listening

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
BOUNDED = settings(
    max_examples=40,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.integration
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_answers_are_those_of_the_document(app: FastAPI, mode: GenerationMode) -> None:
    tried = set()
    with listening(app) as url:
        for found in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
            operation = found.ok()  # type: ignore[union-attr]  # our document is valid, else this fails

            @BOUNDED
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Case[Any]) -> None:
                answer = case.call()
                case.validate_response(answer, checks=CHECKS)
                tried.add((case.operation.label, answer.status_code))

            with suppress(Unsatisfiable):  # where nothing is asked for, nothing can be got wrong
                check()
    assert ("GET /v1/jobs", 200 if mode is GenerationMode.POSITIVE else 422) in tried
    assert len({label for label, _ in tried}) >= 5
