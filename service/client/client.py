"""The typed client of the service."""

import secrets
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from service.client.access import Access
from service.client.connection import Params, segment, segments
from service.client.downloads import Downloads
from service.client.errors import ClientError, NoStream, ServerUnreachable
from service.client.job_streams import PATIENCE_S, JobStreams
from service.client.webhooks import Webhooks
from service.jobs.answers import (
    ArtifactList,
    ArtifactRead,
    DatasetList,
    DatasetRead,
    DatasetSummary,
    JobList,
    JobRead,
    JobSummary,
    MetricsRead,
    ModelList,
    ModelRead,
    PredictionsRead,
    PresetList,
    PresetRead,
    RunList,
    RunRead,
    SpecRead,
)
from service.jobs.any_results import AnyResults, parse_results
from service.jobs.data_specs import DatasetSpec
from service.jobs.health_answers import Ready
from service.jobs.specs import JobSpec, asked_for
from service.jobs.states import JobState
from service.jobs.watch_answers import ProgressRead

TableFormat = Literal["markdown", "latex", "csv", "json"]


class SdcnClient(JobStreams, Downloads, Webhooks, Access):
    """One service, by its address: submit jobs, watch them, read what they found.

    Every method may raise ApiProblem (the service refused), ServerUnreachable (nobody answers) and UnsendableRequest
    (what was given cannot be sent).

    Args:
        base_url: such as http://127.0.0.1:8000. This machine is never reached through the environment's proxy, which
            would look for the service on its own.
        key: an API key; None: the service is open. `service.client.credentials.api_key` finds the one that the
            environment or a file holds.
        transport: something else than the network, for tests.

    Raises:
        httpx.InvalidURL: `base_url` is none.
    """

    def submit(self, spec: JobSpec, *, idempotency_key: str | None = None, tries: int = 3) -> JobRead:
        """Queue a job. A connection that breaks is tried again, under one key, so that no second job is made."""
        key = idempotency_key or secrets.token_urlsafe(16)
        for tries_left in reversed(range(tries)):
            try:
                return self._call(JobRead, "POST", "/v1/jobs", json=asked_for(spec), headers={"Idempotency-Key": key})
            except ServerUnreachable:
                if tries_left == 0:
                    raise
                time.sleep(0.5)
        raise ValueError(f"tries must be at least 1, got {tries}")

    def validate(self, spec: JobSpec) -> SpecRead:
        """What the service would run, and what it would warn about; queues nothing."""
        return self._call(SpecRead, "POST", "/v1/jobs", json=asked_for(spec), params={"validate_only": "true"})

    def get(self, job_id: str) -> JobRead:
        return self._call(JobRead, "GET", f"/v1/jobs/{segment(job_id)}")

    def jobs(
        self, *, states: Collection[JobState] = (), kind: str | None = None, page_size: int = 50
    ) -> Iterator[JobSummary]:
        """All jobs in these states (empty: any), newest first; pages are fetched as they are needed."""
        asked: Params = {"limit": str(page_size), "state": [state.value for state in states]}
        for page in self._pages(JobList, "/v1/jobs", asked if kind is None else {**asked, "kind": kind}):
            yield from page.jobs

    def results(self, job_id: str) -> AnyResults:
        """What the job found, by its kind."""
        with self._understood(self._send("GET", f"/v1/jobs/{segment(job_id)}/results")) as answer:
            return parse_results(answer.json())

    def runs(self, job_id: str) -> tuple[RunRead, ...]:
        """The trainings of a study as they are now."""
        return self._call(RunList, "GET", f"/v1/jobs/{segment(job_id)}/runs").runs

    def metrics(self, job_id: str, *, run: str | None = None, names: Collection[str] = ()) -> MetricsRead:
        """Series of the job, or of a study's run; all where no names are given."""
        params: Params = {"name": list(names)} | ({} if run is None else {"run": run})
        return self._call(MetricsRead, "GET", f"/v1/jobs/{segment(job_id)}/metrics", params=params)

    def table(self, job_id: str, table_format: TableFormat = "markdown") -> str:
        """The table of an ablation or sweep."""
        path = f"/v1/jobs/{segment(job_id)}/table"
        with self._understood(self._send("GET", path, params={"format": table_format})) as answer:
            return answer.text

    def artifacts(self, job_id: str, *, run: str | None = None) -> tuple[ArtifactRead, ...]:
        """The files that the job, or a study's run, has left so far."""
        params = {} if run is None else {"run": run}
        return self._call(ArtifactList, "GET", f"/v1/jobs/{segment(job_id)}/artifacts", params=params).artifacts

    def models(self, *, page_size: int = 50) -> Iterator[ModelRead]:
        """All finished models, those of the newest jobs first; pages are fetched as they are needed."""
        for page in self._pages(ModelList, "/v1/models", {"limit": str(page_size)}):
            yield from page.models

    def model(self, model_id: str) -> ModelRead:
        """By JOB, JOB/RUN, NAME@champion or champion."""
        return self._call(ModelRead, "GET", f"/v1/models/{segments(model_id)}")

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
        with ExitStack() as stack:
            files = [("images", (path.name, stack.enter_context(path.open("rb")))) for path in images]
            path = f"/v1/models/{segments(model_id)}/predict"
            response = self._send("POST", path, files=files, params=params, timeout=timeout_s)
        with self._understood(response) as answer:
            return PredictionsRead.model_validate_json(answer.content)

    def datasets(self, *, page_size: int = 50) -> Iterator[DatasetSummary]:
        """All registered data sets by name; pages are fetched as they are needed."""
        for page in self._pages(DatasetList, "/v1/datasets", {"limit": str(page_size)}):
            yield from page.datasets

    def dataset(self, name: str) -> DatasetRead:
        """Whether it can be used, and how much it has of each class and split."""
        return self._call(DatasetRead, "GET", f"/v1/datasets/{segment(name)}")

    def add_dataset(self, spec: DatasetSpec) -> DatasetRead:
        """Register a data set; the job `job_id` of the answer checks it."""
        return self._call(DatasetRead, "POST", "/v1/datasets", json=asked_for(spec))

    def check_dataset(self, name: str) -> DatasetRead:
        """Have it read again."""
        return self._call(DatasetRead, "POST", f"/v1/datasets/{segment(name)}/check")

    def remove_dataset(self, name: str) -> None:
        """Forget it; its files stay."""
        with self._understood(self._send("DELETE", f"/v1/datasets/{segment(name)}")):
            pass

    def cancel(self, job_id: str, *, force: bool = False) -> JobRead:
        """Ask for its end, after a last checkpoint; with `force` its processes are killed at once."""
        params = {"force": "true"} if force else None
        return self._call(JobRead, "POST", f"/v1/jobs/{segment(job_id)}/cancel", params=params)

    def pause(self, job_id: str) -> JobRead:
        """Ask for it to wait, after a checkpoint."""
        return self._call(JobRead, "POST", f"/v1/jobs/{segment(job_id)}/pause")

    def resume(self, job_id: str) -> JobRead:
        return self._call(JobRead, "POST", f"/v1/jobs/{segment(job_id)}/resume")

    def retry(self, job_id: str) -> JobRead:
        """Have it tried again, if it failed or was cancelled."""
        return self._call(JobRead, "POST", f"/v1/jobs/{segment(job_id)}/retry")

    def clone(
        self, job_id: str, changes: Mapping[str, JsonValue] | None = None, *, idempotency_key: str | None = None
    ) -> JobRead:
        """Queue a new job like it, with these fields of its spec changed."""
        headers = {"Idempotency-Key": idempotency_key or secrets.token_urlsafe(16)}
        asked = {"changes": dict(changes or {})}
        return self._call(JobRead, "POST", f"/v1/jobs/{segment(job_id)}/clone", json=asked, headers=headers)

    def set_priority(self, job_id: str, priority: int) -> JobRead:
        """Larger is claimed earlier; while it waits."""
        return self._call(JobRead, "PATCH", f"/v1/jobs/{segment(job_id)}", json={"priority": priority})

    def delete(self, job_id: str) -> None:
        """Forget it, with all that it has left, for good; once it has ended."""
        with self._understood(self._send("DELETE", f"/v1/jobs/{segment(job_id)}")):
            pass

    def readiness(self) -> Ready:
        """What the service stands on and what of it is down.

        Raises:
            ApiProblem: 503: no job can be taken in; `fields` has what is down.
        """
        return self._call(Ready, "GET", "/readyz")

    def presets(self) -> tuple[PresetRead, ...]:
        return self._call(PresetList, "GET", "/v1/presets").presets

    def follow(
        self, job_id: str, *, patience_s: float = PATIENCE_S, sleep: Callable[[float], None] = time.sleep
    ) -> Iterator[JobRead]:
        """The job now, and again whenever it changes, until it has ended: told by the service as it happens or, where
        streams are cut on the way, asked for as `watch` does.

        Args:
            job_id: the job.
            patience_s: how long the service may be away.
            sleep: lets time pass between two tries.
        """
        known = self.event_page(job_id).events
        job = self.get(job_id)
        yield job
        try:
            after = known[-1].id if known else 0
            for news in self.streamed_events(job_id, after=after, patience_s=patience_s, sleep=sleep):
                if isinstance(news, ProgressRead):
                    job = job.model_copy(update={"attempt": news.attempt, "progress": news.progress})
                else:
                    job = self.get(job_id)
                yield job
        except NoStream:
            yield from self.watch(job_id, patience_s=patience_s, sleep=sleep)
            return
        if not job.state.is_terminal:
            yield self.get(job_id)

    def watch(
        self,
        job_id: str,
        *,
        interval_s: float = 1.0,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> Iterator[JobRead]:
        """The job, again and again, until it has ended; the last one is in its final state.

        Args:
            job_id: the job.
            interval_s: between two looks.
            patience_s: how long without an answer is borne, the tries themselves included; where the service says when
                to ask again, it is asked then.
            sleep: lets time pass; what it raises ends the watch.
            clock: seconds, of which only differences count.
        """
        heard_s = clock()
        while True:
            wait_s = interval_s
            try:
                job = self.get(job_id)
            except ClientError as error:
                wait_s = max(interval_s, error.retry_after_s or 0.0)
                if not error.may_pass or clock() - heard_s + wait_s > patience_s:
                    raise
            else:
                yield job
                if job.state.is_terminal:
                    return
                heard_s = clock()  # after the caller's turn: only the service's silence counts
            sleep(wait_s)
