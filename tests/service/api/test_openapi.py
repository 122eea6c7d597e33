"""Requests that schemathesis makes up from the OpenAPI document, valid and not, are answered as the document says: to
a key of every kind and to nobody.

`make requests` makes up ten thousand.
"""

import math
import os
import secrets
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from sdcn_core.config.data import VocSource
from service import submission
from service.api.policy import wanted_scope
from service.app import create_app
from service.jobs.access import KeySpec, Scope
from service.jobs.data_specs import DatasetSpec
from service.jobs.specs import AblationSpec, JobSpec, TrainSpec
from service.jobs.states import JobState
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from tests.service.api.studies import begin_run, end_run, leave
from tests.service.api.test_jobs import WHOLE_RESULTS, start
from tests.service.server import listening

REQUESTS = int(os.environ.get("SDCN_REQUESTS", "2400"))
"""made up by all tests here together"""
CALLERS: Sequence[Scope | None] = (None, *Scope)
OPEN = {"GET /healthz"}
"""what nobody needs a key for, said here and not by the policy that is tested"""
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXPECTED_FAILURES = {("POST /v1/models/{model_id}/predict", 503)}
"""no predictor is there"""
NO_HTTP = (400, "Invalid HTTP request received.")
"""the server's own answer to a length or a header's name that HTTP forbids; no request of it reaches the service"""
ANSWER_TIMEOUT_S = 30.0
STREAMS = ("/events", "/logs")
Known = dict[str, list[str]]
"""a parameter of a path -> what is there by this name"""


def bounded(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )


@pytest.fixture
def app(settings: ServiceSettings) -> FastAPI:
    """The service as it is where it is not open."""
    return create_app(settings.model_copy(update={"open_on_loopback": False}))


@pytest.fixture
def known(app: FastAPI, jobs: JobQueue, tmp_path: Path) -> Known:
    """A training that has ended, a study with a run that has, a training that waits, a data set, a webhook, a key."""

    def submitted(spec: JobSpec) -> str:
        return submission.submit(jobs, spec, app.state.datasets, idempotency_key=None).job.job_id

    trained = submitted(TrainSpec(preset="tiny"))
    jobs.settle(start(jobs), Settlement.succeeded(WHOLE_RESULTS))
    leave(tmp_path / "runs" / trained, model_pt=b"weights", results_json=b"{}")
    study = submitted(AblationSpec(study="oicr-against-sdcn", preset="tiny"))
    run = begin_run(tmp_path, study, "oicr")
    end_run(run)
    leave(run, results_json=b"{}")
    waiting = submitted(TrainSpec(preset="tiny"))
    dataset = app.state.datasets.register(DatasetSpec(name="pets", source=VocSource(path="pets")))
    hook = app.state.webhooks.add("https://example.org/hook", [JobState.FAILED], secret=secrets.token_hex())
    key, _ = app.state.keys.create(KeySpec(name="another"))
    return {
        "job_id": [trained, study, waiting],
        "ended job_id": [trained],
        "model_id": [trained],
        "run": [run.name],
        "key_id": [key.key_id],
        "webhook_id": [hook.webhook_id],
        "dataset name": [dataset.name],
        "artifact name": ["results.json", "model.pt"],
    }


@dataclass
class Asking:
    """Somebody who asks for everything there is, with or without a key."""

    url: str
    scope: Scope | None
    """of the key; None: there is none"""
    key: str | None
    known: Known
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)
    """operation and status -> how often"""

    def ask(self, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode, examples: int) -> None:
        """Make up so many requests of one operation, send them, and look at the answers."""

        @bounded(examples)
        @given(case=operation.as_strategy(generation_mode=mode), which=st.integers(0, 5))
        def ask_once(case: Case[Any], which: int) -> None:
            if which:  # else there is hardly anything by the names that were made up
                case.path_parameters |= {name: ids[(which - 1) % len(ids)] for name, ids in self._there(case).items()}
            headers = {} if self.key is None else {"Authorization": f"Bearer {self.key}"}
            answer = case.call(base_url=self.url, headers=headers, timeout=ANSWER_TIMEOUT_S)
            if (answer.status_code, answer.text) == NO_HTTP:
                return
            expected = (operation.label, answer.status_code) in EXPECTED_FAILURES
            case.validate_response(answer, checks=CHECKS, excluded_checks=[not_a_server_error] if expected else None)
            self._look(operation, answer.status_code, sent=answer.request.headers.get("Authorization"))

        with suppress(Unsatisfiable):  # where nothing is asked for, nothing can be got wrong
            ask_once()

    def _there(self, case: Case[Any]) -> dict[str, list[str]]:
        """What is there, for each parameter of this path."""
        path = case.operation.path
        kinds = {"name": "dataset name" if path.startswith("/v1/datasets") else "artifact name"}
        if path.endswith(STREAMS):  # of a job that goes on they would have no end
            kinds["job_id"] = "ended job_id"
        return {name: self.known[kinds.get(name, name)] for name in case.path_parameters or {}}

    def _look(self, operation: APIOperation[Any, Any, Any, Any], status: int, *, sent: str | None) -> None:
        """Whether who may not is refused; schemathesis leaves the key out now and then."""
        self.answered[operation.label, status] += 1
        wanted = wanted_scope(operation.method.upper(), operation.path)
        assert (wanted is None) == (operation.label in OPEN)
        shown = self.scope if sent == f"Bearer {self.key}" else None
        if wanted is None or (shown is not None and shown.covers(wanted)):
            assert status != HTTPStatus.UNAUTHORIZED
        else:
            assert status == (HTTPStatus.UNAUTHORIZED if shown is None else HTTPStatus.FORBIDDEN)


@pytest.mark.integration
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("scope", CALLERS, ids=lambda scope: scope or "nobody")
def test_answers_are_those_of_the_document_to_whoever_asks(
    app: FastAPI, known: Known, scope: Scope | None, mode: GenerationMode
) -> None:
    key = None if scope is None else app.state.keys.create(KeySpec(name="asks", scope=scope))[1].text
    found = schemathesis.openapi.from_dict(app.openapi()).get_all_operations()
    operations = [one.ok() for one in found]  # type: ignore[union-attr]  # our document is valid, else this fails
    operations.sort(key=lambda operation: operation.method == "delete")  # what is removed was asked for before
    share = math.ceil(REQUESTS / len(CALLERS) / len(GenerationMode))
    with listening(app) as url:
        asking = Asking(url, scope, key, known)
        while asking.answered.total() < share:
            for operation in operations:
                asking.ask(operation, mode, math.ceil(share / len(operations)))
    if scope is Scope.ADMIN:  # else it was refused before it was looked at
        found_jobs = sum(n for (label, status), n in asking.answered.items() if "{job_id}" in label and status == 200)
        refused = sum(n for (_, status), n in asking.answered.items() if status == 422)
        assert found_jobs > 0 if mode is GenerationMode.POSITIVE else refused > 0
