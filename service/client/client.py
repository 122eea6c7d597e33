"""The typed client of the service."""

import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from service.client.errors import ApiProblem, BrokenDownload, ServerUnreachable
from service.jobs.answers import (
    ArtifactList,
    ArtifactRead,
    JobList,
    JobRead,
    JobSummary,
    MetricsRead,
    ModelList,
    ModelRead,
    PredictionsRead,
    PresetList,
    PresetRead,
    Problem,
    RunList,
    RunRead,
    SpecRead,
)
from service.jobs.any_results import AnyResults, parse_results
from service.jobs.specs import JobSpec
from service.jobs.states import JobState

AnswerT = TypeVar("AnswerT", bound=BaseModel)

TableFormat = Literal["markdown", "latex", "csv", "json"]

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

    def results(self, job_id: str) -> AnyResults:
        """What the job found, by its kind."""
        with self._understood() as answer:
            found = answer(self._send("GET", f"/v1/jobs/{_segment(job_id)}/results"))
            return parse_results(found.json())

    def runs(self, job_id: str) -> tuple[RunRead, ...]:
        """The trainings of a study as they are now."""
        return self._call(RunList, "GET", f"/v1/jobs/{_segment(job_id)}/runs").runs

    def metrics(self, job_id: str, *, run: str | None = None, names: Collection[str] = ()) -> MetricsRead:
        """Series of the job, or of a study's run; all where no names are given."""
        params: dict[str, str | list[str]] = {"name": list(names)} | ({} if run is None else {"run": run})
        return self._call(MetricsRead, "GET", f"/v1/jobs/{_segment(job_id)}/metrics", params=params)

    def table(self, job_id: str, table_format: TableFormat = "markdown") -> str:
        """The table of an ablation or sweep."""
        with self._understood() as answer:
            return answer(self._send("GET", f"/v1/jobs/{_segment(job_id)}/table", params={"format": table_format})).text

    def artifacts(self, job_id: str, *, run: str | None = None) -> tuple[ArtifactRead, ...]:
        """The files that the job, or a study's run, has left so far."""
        params = {} if run is None else {"run": run}
        return self._call(ArtifactList, "GET", f"/v1/jobs/{_segment(job_id)}/artifacts", params=params).artifacts

    def fetch(self, artifact: ArtifactRead, folder: Path) -> Path:
        """Download an artifact into the folder, under its name; it is there whole or not at all.

        Raises:
            BrokenDownload: what arrived is not what was listed: it was replaced meanwhile, or the connection broke.
            OSError: it cannot be written.
        """
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\-]*", artifact.name) is None:
            raise BrokenDownload(f"{artifact.name!r} is no name for a file here")
        target = folder / artifact.name
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        digest = hashlib.sha256()
        try:
            with self._streamed(artifact.url) as blocks, partial.open("wb") as file:
                for block in blocks:
                    digest.update(block)
                    file.write(block)
            if digest.hexdigest() != artifact.sha256:
                raise BrokenDownload(
                    f"{artifact.name} is not what was listed: it may have been replaced; fetch it again"
                )
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    def models(self, *, page_size: int = 50) -> Iterator[ModelRead]:
        """All finished models, those of the newest jobs first; pages are fetched as they are needed."""
        params: dict[str, str | list[str]] = {"limit": str(page_size)}
        while True:
            page = self._call(ModelList, "GET", "/v1/models", params=params)
            yield from page.models
            if page.next_cursor is None:
                return
            params["cursor"] = page.next_cursor

    def model(self, model_id: str) -> ModelRead:
        """By JOB, JOB/RUN, NAME@champion or champion."""
        return self._call(ModelRead, "GET", f"/v1/models/{_segments(model_id)}")

    def predict(
        self,
        model_id: str,
        images: Sequence[Path],
        *,
        score_threshold: float | None = None,
        max_boxes: int | None = None,
        fast: bool = False,
        timeout_s: float = 300.0,
    ) -> PredictionsRead:
        """Boxes of each image; the images are sent in one request. What is None is as in a job of kind predict.

        Raises:
            OSError: an image cannot be read.
        """
        given = {"score_threshold": score_threshold, "max_boxes": max_boxes, "fast": fast or None}
        params = {name: str(value).lower() for name, value in given.items() if value is not None}
        with ExitStack() as stack, self._understood() as answer:
            files = [("images", (path.name, stack.enter_context(path.open("rb")))) for path in images]
            path = f"/v1/models/{_segments(model_id)}/predict"
            found = answer(self._send("POST", path, files=files, params=params, timeout=timeout_s))
            return PredictionsRead.model_validate_json(found.content)

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
        with self._understood() as answer:
            response = answer(self._send(method, path, json=json, params=params, headers=headers))
            return model.model_validate_json(response.content)

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:  # noqa: ANN401 - as httpx takes it
        try:
            return self._http.request(method, path, **request)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.TransportError) -> ServerUnreachable:
        reason = str(error) or type(error).__name__
        return ServerUnreachable(
            f"no service answers at {self.base_url} ({reason}): start one with `sdcn up`, or give --url"
        )

    @contextmanager
    def _understood(self) -> Iterator[Callable[[httpx.Response], httpx.Response]]:
        """Within it answers are read: it hands out what turns problems into ApiProblem, and says of any answer that
        cannot be read that it is not the service's.
        """
        status = 0

        def answer(response: httpx.Response) -> httpx.Response:
            nonlocal status
            status = response.status_code
            if not response.is_success:
                raise ApiProblem(Problem.model_validate_json(response.content))
            return response

        try:
            yield answer
        except ValueError as error:  # pydantic's and JSON's
            raise ServerUnreachable(
                f"what answers at {self.base_url} is not this service: status {status} without the"
                " document that belongs to it; check --url"
            ) from error

    @contextmanager
    def _streamed(self, path: str) -> Iterator[Iterator[bytes]]:
        try:
            with self._understood() as answer, self._http.stream("GET", path) as response:
                if not response.is_success:
                    response.read()
                yield answer(response).iter_bytes()
        except httpx.TransportError as error:
            raise self._unreachable(error) from error


def _body(spec: JobSpec) -> object:
    return {"kind": spec.kind} | spec.model_dump(mode="json", exclude_unset=True)


def _segment(job_id: str) -> str:
    """The id as one segment of a path: what is not an id must not reach another endpoint."""
    return quote(job_id, safe="") or "-"


def _segments(model_id: str) -> str:
    """An id of two parts, likewise; dots alone would climb."""
    return "/".join("-" if part.strip(".") == "" else quote(part, safe="@") for part in model_id.split("/"))
