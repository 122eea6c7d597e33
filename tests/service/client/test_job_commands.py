"""What can be done from the command line to a job that is there."""

import json

import pytest

from service.client import ApiProblem, SdcnClient
from service.jobs.specs import TrainSpec
from service.jobs.states import JobState
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.client.test_cli import Sdcn, sdcn

__all__ = ["sdcn"]

TINY = TrainSpec(preset="tiny")


@pytest.fixture
def job_id(client: SdcnClient) -> str:
    return client.submit(TINY).id


def test_a_job_is_paused_resumed_cancelled_and_tried_again(sdcn: Sdcn, client: SdcnClient, job_id: str) -> None:
    for command, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled"), ("retry", "queued")):
        assert sdcn(command, job_id).stdout == f"job {job_id} is {state}\n"
        assert client.get(job_id).state == state


def test_what_comes_of_a_wish_is_told_while_the_job_is_at_work(sdcn: Sdcn, jobs: JobQueue, job_id: str) -> None:
    claim = jobs.claim("w", lease_s=60)
    assert claim is not None
    assert "it will pause at its next report" in sdcn("pause", job_id).stdout
    assert "it will stop at its next report" in sdcn("cancel", job_id).stdout
    assert "it will be killed" in sdcn("cancel", job_id, "--force").stdout
    assert jobs.get(job_id).desired == "kill"


def test_a_clone_has_what_was_changed(sdcn: Sdcn, client: SdcnClient, job_id: str) -> None:
    done = sdcn("clone", job_id, "--set", "objective.tau_0=0.3", "--name", "softer", "--priority", "3", "--json")
    made = json.loads(done.stdout)
    assert (made["cloned_from"], made["name"], made["priority"]) == (job_id, "softer", 3)
    assert made["spec"]["experiment"]["objective"]["tau_0"] == 0.3
    assert "follow it with `sdcn watch" in sdcn("clone", job_id).stdout


def test_a_priority_is_set_while_the_job_waits(sdcn: Sdcn, jobs: JobQueue, job_id: str) -> None:
    assert sdcn("priority", job_id, "5").stdout == f"job {job_id} has priority 5\n"
    jobs.claim("w", lease_s=60)
    refused = sdcn("priority", job_id, "6")
    assert refused.exit_code == 2
    assert "its priority counts only while it waits" in refused.output


def test_a_job_is_deleted_when_it_has_ended_and_the_question_is_answered(
    sdcn: Sdcn,
    client: SdcnClient,
    jobs: JobQueue,
    job_id: str,
) -> None:
    assert "cancel it first" in sdcn("delete", job_id, "--yes").output
    claim = jobs.claim("w", lease_s=60)
    assert claim is not None
    jobs.start(claim)
    jobs.settle(claim, Settlement.succeeded({}))
    assert sdcn("delete", job_id).exit_code == 1  # nobody answers
    assert client.get(job_id).state is JobState.SUCCEEDED
    assert sdcn("delete", job_id, "--yes").stdout == f"job {job_id} is deleted\n"
    with pytest.raises(ApiProblem):
        client.get(job_id)


def test_a_job_is_submitted_to_wait_for_another(sdcn: Sdcn, client: SdcnClient, job_id: str) -> None:
    done = sdcn("submit", "tiny", "--after", job_id, "--max-runtime-s", "60", "--name", "later")
    assert "is blocked" in done.stdout
    (waiting,) = client.jobs(states=[JobState.BLOCKED])
    spec = client.get(waiting.id).spec
    assert (spec["after"], spec["max_runtime_s"]) == ([job_id], 60)
