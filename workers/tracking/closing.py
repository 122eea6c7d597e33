"""Runs in MLflow that nobody delivers to any more: left open by jobs that have ended, or of jobs that were deleted."""

from collections.abc import Iterator
from pathlib import Path

from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode

from service.errors import JobNotFound
from workers.tracking.delivery import STATUS, Destination, Jobs
from workers.tracking.tracked_run import JOB_TAG, RUN_TAG, STATE_TAG, TrackingFiles

PAGE = 200


def close_left_open(destination: Destination, jobs: Jobs, runs: Path) -> list[str]:
    """Close the runs that are RUNNING though their job has ended and nothing of it waits to be delivered; their ids.

    A run beside the one that the job is tied to is deleted: MLflow's client sends a request again whose answer is late,
    and a slow server then makes two.

    Raises:
        MlflowException: MLflow does not answer.
    """
    closed = []
    for run in list(_search(destination, "attributes.status = 'RUNNING'")):
        job_id = run.data.tags.get(JOB_TAG)
        if job_id is None or TrackingFiles(runs / job_id).run.exists():
            continue
        try:
            verdict = jobs.verdict(job_id)
        except JobNotFound:
            continue  # another database's job: its own workers know
        if verdict is None:
            continue
        if RUN_TAG not in run.data.tags and verdict.run_id not in (None, run.info.run_id):
            destination.client.delete_run(run.info.run_id)
        else:
            destination.client.set_tag(run.info.run_id, STATE_TAG, verdict.state.value)
            status = STATUS[verdict.state]
            destination.client.set_terminated(run.info.run_id, status=status, end_time=verdict.ended_at_ms)
        closed.append(str(run.info.run_id))
    return closed


def delete_runs(destination: Destination, job_id: str) -> None:
    """Delete the job's run, and those of its study; what is deleted already is passed over.

    Raises:
        MlflowException: MLflow does not answer.
    """
    for run in list(_search(destination, f"tags.`{JOB_TAG}` = '{job_id}'")):
        try:
            destination.client.delete_run(run.info.run_id)
        except MlflowException as error:
            if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
                raise


def _search(destination: Destination, condition: str) -> Iterator[Run]:
    experiment_id = destination.experiment_id()
    token: str | None = None
    while True:
        page = destination.client.search_runs(
            [experiment_id], condition, ViewType.ACTIVE_ONLY, max_results=PAGE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return
