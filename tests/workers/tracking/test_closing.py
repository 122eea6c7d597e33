"""Runs that are opened again, closed for others, and deleted, in a real MLflow on SQLite."""

from collections.abc import Callable

import pytest

from service.jobs.states import FailureReason
from service.queue.records import Claim, Settlement
from service.queue.repository import JobQueue
from workers.attempt_folder import RunFolder

pytest.importorskip("mlflow")
from mlflow.entities import Run

from workers.tracking.closing import close_left_open, delete_runs
from workers.tracking.delivery import Destination, deliver
from workers.tracking.mlflow_log import QueueJobs
from workers.tracking.tracked_run import FAILURE_TAG, JOB_TAG, RUN_TAG, TrackingFiles, describe


def test_the_run_of_a_job_that_is_tried_again_is_open_until_it_ends_again(
    run: RunFolder, destination: Destination, queue: JobQueue, claim: Claim, recorded: Callable[[], Run]
) -> None:
    queue.settle(claim, Settlement.failed(FailureReason.DIVERGED, "nan"))
    assert deliver(run.path, destination, QueueJobs(queue))
    queue.retry(claim.job_id)
    again = queue.claim("worker-b", lease_s=60)
    assert again is not None
    describe(again, run.path)
    assert not deliver(run.path, destination, QueueJobs(queue))
    assert (recorded().info.status, FAILURE_TAG in recorded().data.tags) == ("RUNNING", False)
    queue.start(again)
    queue.settle(again, Settlement.succeeded({}))
    assert deliver(run.path, destination, QueueJobs(queue))
    assert recorded().info.status == "FINISHED"


def test_a_run_left_open_by_a_job_that_has_ended_is_closed(
    run: RunFolder, destination: Destination, queue: JobQueue, claim: Claim, recorded: Callable[[], Run]
) -> None:
    assert not deliver(run.path, destination, QueueJobs(queue))
    assert close_left_open(destination, QueueJobs(queue), run.path.parent) == []
    queue.settle(claim, Settlement.cancelled())
    assert close_left_open(destination, QueueJobs(queue), run.path.parent) == [], "its own delivery does it"
    TrackingFiles(run.path).run.unlink()  # its folder is lost
    assert close_left_open(destination, QueueJobs(queue), run.path.parent) == [recorded().info.run_id]
    assert recorded().info.status == "KILLED"


def test_a_second_run_that_a_slow_server_made_of_one_request_is_deleted_and_those_of_a_study_stay(
    run: RunFolder, destination: Destination, queue: JobQueue, claim: Claim, recorded: Callable[[], Run]
) -> None:
    deliver(run.path, destination, QueueJobs(queue))
    second, of_study = (
        destination.client.create_run(destination.experiment_id(), tags={JOB_TAG: claim.job_id, **more})
        for more in ({}, {RUN_TAG: "sdcn-seed0"})
    )
    queue.settle(claim, Settlement.cancelled())
    assert deliver(run.path, destination, QueueJobs(queue))
    closed = close_left_open(destination, QueueJobs(queue), run.path.parent)
    assert set(closed) == {second.info.run_id, of_study.info.run_id}
    states = [destination.client.get_run(made.info.run_id).info for made in (second, of_study, recorded())]
    assert [state.lifecycle_stage for state in states] == ["deleted", "active", "active"]
    assert [state.status for state in states[1:]] == ["KILLED", "KILLED"]


def test_the_runs_of_a_deleted_job_are_deleted_and_no_others(
    run: RunFolder, destination: Destination, queue: JobQueue, claim: Claim, recorded: Callable[[], Run]
) -> None:
    deliver(run.path, destination, QueueJobs(queue))
    delete_runs(destination, "another")
    assert recorded().info.lifecycle_stage == "active"
    run_id = recorded().info.run_id
    delete_runs(destination, claim.job_id)
    delete_runs(destination, claim.job_id)
    assert destination.client.get_run(run_id).info.lifecycle_stage == "deleted"
