"""The typed client of the service."""

import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from service.client.errors import ApiProblem, ServerUnreachable
from service.jobs.answers import JobList, JobRead, JobSummary, PresetList, PresetRead, Problem, SpecRead
from service.jobs.results import TrainResults
from service.jobs.specs import JobSpec
from service.jobs.states import JobState

AnswerT = TypeVar("AnswerT", bound=BaseModel)

PATIENCE_S = 60.0
"""how long `watch` bears a service that does not answer: it may be restarting"""


class SdcnClient:
    """One service, by its address: submit jobs, watch them, read what they found.

    Every method may raise ApiProblem (the service refused) and ServerUnreachable (nobody answers).

    Args:
        base_url: such as http://127.0.0.1:8000.
        transport: something else than the network, for tests.
    """

    def __init__(self, base_url: str, *, timeout_s: float = 40.0, transport: httpx.BaseTransport | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._http = httpx.Client(base_url=self.base_url, timeout=timeout_s, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def submit(self, spec: JobSpec, *, idempotency_key: str | None = None, tries: int = 3) -> JobRead:
        """Queue a job. A connection that breaks is tried again, under one key, so that no second job is made."""
        key = idempotency_key or secrets.token_urlsafe(16)
        for tries_left in reversed(range(tries)):
            try:
                return self._call(JobRead, "POST", "/v1/jobs", json=_body(spec), headers={"Idempotency-Key": key})
            except ServerUnreachable:
                if tries_left == 0:
                    raise
                time.sleep(0.5)
        raise ValueError(f"tries must be at least 1, got {tries}")

    def validate(self, spec: JobSpec) -> SpecRead:
        """What the service would run, and what it would warn about; queues nothing."""
        return self._call(SpecRead, "POST", "/v1/jobs", json=_body(spec), params={"validate_only": "true"})

    def get(self, job_id: str) -> JobRead:
        return self._call(JobRead, "GET", f"/v1/jobs/{_segment(job_id)}")

    def jobs(
        self, *, states: Collection[JobState] = (), kind: str | None = None, page_size: int = 50
    ) -> Iterator[JobSummary]:
        """All jobs in these states (empty: any), newest first; pages are fetched as they are needed."""
        params: dict[str, str | list[str]] = {"limit": str(page_size), "state": [state.value for state in states]}
        if kind is not None:
            params["kind"] = kind
        while True:
            page = self._call(JobList, "GET", "/v1/jobs", params=params)
            yield from page.jobs
            if page.next_cursor is None:
                return
            params["cursor"] = page.next_cursor

    def results(self, job_id: str) -> TrainResults:
        return self._call(TrainResults, "GET", f"/v1/jobs/{_segment(job_id)}/results")

    def cancel(self, job_id: str) -> JobRead:
        return self._call(JobRead, "POST", f"/v1/jobs/{_segment(job_id)}/cancel")

    def presets(self) -> tuple[PresetRead, ...]:
        return self._call(PresetList, "GET", "/v1/presets").presets

    def watch(
        self,
        job_id: str,
        *,
        interval_s: float = 1.0,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Iterator[JobRead]:
        """The job, again and again, until it has ended; the last one is in its final state."""
        unanswered_s = 0.0
        while True:
            try:
                job = self.get(job_id)
            except ServerUnreachable:
                unanswered_s += interval_s
                if unanswered_s > patience_s:
                    raise
            else:
                unanswered_s = 0.0
                yield job
                if job.state.is_terminal:
                    return
            sleep(interval_s)

    def _call(
        self,
        model: type[AnswerT],
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, str | list[str]] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AnswerT:
        try:
            response = self._http.request(method, path, json=json, params=params, headers=headers)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise ServerUnreachable(
                f"no service answers at {self.base_url} ({reason}): start one with `sdcn up`, or give --url"
            ) from error
        try:
            if response.is_success:
                return model.model_validate_json(response.content)
            raise ApiProblem(Problem.model_validate_json(response.content))
        except ValidationError as error:
            raise ServerUnreachable(
                f"what answers at {self.base_url} is not this service: status {response.status_code} without the"
                " document that belongs to it; check --url"
            ) from error


def _body(spec: JobSpec) -> object:
    return {"kind": spec.kind} | spec.model_dump(mode="json", exclude_unset=True)


def _segment(job_id: str) -> str:
    """The id as one segment of a path: what is not an id must not reach another endpoint."""
    return quote(job_id, safe="") or "-"
