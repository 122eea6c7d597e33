"""The runs of a study as MLflow's child runs, found in the job's folder while it works and after."""

import os
from pathlib import Path

import structlog
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from pydantic import ValidationError

from service.jobs.study_results import RunFound, RunState
from workers.tracking.run_writer import RunWriter
from workers.tracking.tracked_run import FAILURE_TAG, RUN_TAG, STATE_TAG, RecordedRun, tracked_run

log = structlog.get_logger()

STATUS = {RunState.SUCCEEDED: "FINISHED", RunState.STOPPED_EARLY: "FINISHED", RunState.FAILED: "FAILED"}
UNFINISHED = "unfinished"
"""the state of a run whose job ended before it"""


def deliver_runs(job_path: Path, parent: RunWriter, parent_id: str, *, job_ended_at_ms: int | None) -> None:
    """Deliver what is new of every run of the job that is not closed yet, and close those that have ended.

    Args:
        job_path: the job's folder; without one named `runs` there is nothing to do.
        parent: the job's own writer; it remembers which runs are closed, so that they cost nothing any more.
        parent_id: the job's run.
        job_ended_at_ms: of a job that is over; runs that it left unfinished are closed then.
    """
    closed = set(parent.state.closed_runs)
    for path in _run_folders(job_path / "runs"):
        if path.name not in closed and _deliver_run(path, parent, parent_id, job_ended_at_ms):
            closed.add(path.name)
            parent.remember(closed_runs=tuple(sorted(closed)))


def _run_folders(runs: Path) -> list[Path]:
    """Folders of runs; hidden ones hold pieces that several runs share, which are no runs."""
    try:
        with os.scandir(runs) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except FileNotFoundError:
        return []


def _deliver_run(path: Path, parent: RunWriter, parent_id: str, job_ended_at_ms: int | None) -> bool:
    """Whether nothing of the run is left to come."""
    over = job_ended_at_ms is not None
    try:
        recorded = RecordedRun.model_validate_json((path / "run.json").read_bytes())
    except FileNotFoundError:
        return over  # its folder was made a moment ago
    except ValidationError as error:
        log.error("tracking.run_unreadable", path=str(path), reason=str(error)[:300])
        return True
    found = _found(path / "found.json")  # before the spools: a run that has ended says no more
    writer = RunWriter(path, tracked_run(parent.tracked.job_id, recorded), parent.destination)
    run_id = writer.state.run_id
    if run_id is None:
        run_id = writer.find_or_create(
            run_name=recorded.name,
            others=f"tags.`{RUN_TAG}` = '{recorded.name}'",
            tags={MLFLOW_PARENT_RUN_ID: parent_id},
        )
        writer.remember(run_id=run_id)
    try:
        writer.write(run_id)
        if found is not None:
            _close(writer, run_id, *found)
        elif over:
            writer.set_tag(run_id, STATE_TAG, UNFINISHED)
            writer.client.set_terminated(run_id, status="KILLED", end_time=job_ended_at_ms)
    except MlflowException as error:
        if not writer.is_deleted(run_id, error):
            raise
        log.warning("tracking.run_deleted", job_id=writer.tracked.job_id, run=recorded.name, run_id=run_id)
        return True
    if found is None:
        return over
    failure = found[0].failure
    # A later attempt of the job tries a run again that failed for a passing reason.
    return over or failure is None or not failure.reason.is_retryable


def _close(writer: RunWriter, run_id: str, outcome: RunFound, ended_at_ms: int) -> None:
    if writer.state.closed_at_ms == ended_at_ms:
        return
    writer.set_tag(run_id, STATE_TAG, outcome.state.value)
    if outcome.failure is not None:
        writer.set_tag(run_id, FAILURE_TAG, f"{outcome.failure.reason}: {outcome.failure.message}")
    elif writer.state.closed_at_ms is not None:  # it failed before
        writer.set_tag(run_id, FAILURE_TAG, "")
    writer.client.set_terminated(run_id, status=STATUS[outcome.state], end_time=ended_at_ms)
    writer.remember(closed_at_ms=ended_at_ms)


def _found(path: Path) -> tuple[RunFound, int] | None:
    """How the run ended, and when; None while it has not."""
    try:
        return RunFound.model_validate_json(path.read_bytes()), path.stat().st_mtime_ns // 1_000_000
    except FileNotFoundError:
        return None
    except ValidationError as error:
        log.error("tracking.run_unreadable", path=str(path), reason=str(error)[:300])
        return None
