"""What is tried: a training over both nodes, an ablation whose worker's node is lost midway, and what must be there
then.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypeVar

from mlflow import MlflowClient

from deploy.rehearsal.containers import Containers, RehearsalFailed, Say
from sdcn_core.config.methods import oicr, wsddn
from service.client.client import SdcnClient
from service.client.errors import ApiProblem
from service.jobs.ablation_spec import AblationSpec
from service.jobs.answers import JobRead
from service.jobs.base_spec import Resources
from service.jobs.states import TERMINAL, JobState
from service.jobs.study_results import AblationResults
from service.jobs.train_spec import TrainSpec

# The methods without segmentation, as they have the least to compute.
ABLATION = AblationSpec.model_validate(
    {
        "preset": "tiny",
        "name": "loses-a-node",
        "seeds": [0],
        "variants": [{"name": "oicr", "overrides": oicr()}, {"name": "wsddn", "overrides": wsddn()}],
        "max_parallel": 1,
    }
)
"""one run after the other, so that the second is there to be lost when the first has ended"""
LOOK_EVERY_S = 0.5
WITHIN_S = 900.0


def refuse_strangers(url: str) -> None:
    """Raises RehearsalFailed where the API lets in who has no key."""
    try:
        with SdcnClient(url) as stranger:
            next(stranger.jobs(), None)
    except ApiProblem as problem:
        if problem.status == HTTPStatus.UNAUTHORIZED:
            return
    raise RehearsalFailed(f"{url} does not ask for a key")


def rehearse(containers: Containers, client: SdcnClient, tracking: MlflowClient, say: Say) -> None:
    """Raises RehearsalFailed where something does not come out as it must."""
    cpus = len(os.sched_getaffinity(0))  # each node takes the machine's for its own: one of them is not enough
    needs_both = TrainSpec(
        preset="tiny", overrides=oicr(), name="on-both-nodes", resources=Resources(num_workers=2, cpus_per_worker=cpus)
    )
    _until("both nodes are in the cluster", lambda: not client.validate(needs_both).warnings or None)
    wide = client.submit(needs_both)
    with _timed(say, f"job {wide.id}: 2 training workers with all CPUs of a node each"):
        _succeeded(client, wide.id)

    study = client.submit(ABLATION)
    with _timed(say, f"job {study.id}: an ablation, one node lost midway"):
        _until("a run of the ablation has ended", lambda: _ended_runs(client, study.id) or None)
        lost = containers.of_worker(client.get(study.id).attempts[-1].worker_id)
        say(f"{lost} is lost with {containers.lose(lost)} processes")
        job = _succeeded(client, study.id)
    if len(job.attempts) < 2:
        raise RehearsalFailed(f"job {study.id} did not notice that {lost}, which ran it, is gone")
    found = client.results(study.id)
    assert isinstance(found, AblationResults)
    if any(row.failed for row in found.rows) or not found.rows:
        raise RehearsalFailed(f"job {study.id} lacks rows: {found.rows}")
    say(f"its {len(found.rows)} rows are complete after {len(job.attempts)} attempts")

    for told in (client.get(wide.id), job):
        _recorded(tracking, told)
    say("MLflow has every run, and none of them is open")


def _ended_runs(client: SdcnClient, job_id: str) -> int:
    if client.get(job_id).state in TERMINAL:
        raise RehearsalFailed(f"job {job_id} ended before a node could be lost")
    return sum(run.state.value in {"succeeded", "failed"} for run in client.runs(job_id))


def _succeeded(client: SdcnClient, job_id: str) -> JobRead:
    def ended() -> JobRead | None:
        job = client.get(job_id)
        return job if job.state in TERMINAL else None

    job = _until(f"job {job_id} ends", ended)
    if job.state is not JobState.SUCCEEDED:
        raise RehearsalFailed(f"job {job_id} {job.state}: {job.failure}")
    return job


def _recorded(tracking: MlflowClient, job: JobRead) -> None:
    if job.mlflow is None:
        raise RehearsalFailed(f"job {job.id} has no run in MLflow")
    run_id = job.mlflow.run_id

    def closed() -> bool | None:
        return tracking.get_run(run_id).info.status == "FINISHED" or None

    _until(f"the run {run_id} of job {job.id} is finished in MLflow", closed)


T = TypeVar("T")


def _until(what: str, look: Callable[[], T | None]) -> T:
    began = time.monotonic()
    while (found := look()) is None:
        if time.monotonic() - began > WITHIN_S:
            raise RehearsalFailed(f"waited {WITHIN_S:.0f} s in vain until {what}")
        time.sleep(LOOK_EVERY_S)
    return found


@contextmanager
def _timed(say: Say, what: str) -> Iterator[None]:
    say(what)
    began = time.monotonic()
    yield
    say(f"done in {time.monotonic() - began:.0f} s")
