"""Jobs that have ended and are tried again on request; jobs that are deleted."""

import pytest
from sqlalchemy import Engine, text

from service.errors import JobAlreadyEnded, JobBusy, JobNeeded, JobNotFound, SpecUnreadable
from service.jobs.specs import AblationSpec, EvaluateSpec, TrainSpec
from service.jobs.states import Desired, FailureReason, JobState
from service.queue.records import Job, Settlement
from service.queue.repository import JobQueue
from tests.service.clock import FakeClock
from tests.service.conftest import enqueue
from tests.service.queue.test_fencing import claimed

FAILURE = Settlement.failed(FailureReason.BAD_INPUT, "a.xml is missing")


def test_a_job_that_is_tried_again_has_its_budgets_and_its_time_whole(
    queue: JobQueue, spec: TrainSpec, clock: FakeClock
) -> None:
    job = enqueue(queue, spec.model_copy(update={"max_attempts": 1, "max_runtime_s": 100}))
    claim = claimed(queue)
    queue.start(claim)
    queue.begin_running(claim)
    clock.advance(90)
    queue.settle(claim, Settlement.retry(FailureReason.CRASHED, "no word"))
    again = queue.retry(job.job_id)
    assert (again.state, again.failed_attempts, again.failure, again.ended_at) == (JobState.QUEUED, 0, None, None)
    claim = claimed(queue)
    assert claim.attempt == 2
    queue.start(claim)
    queue.begin_running(claim)
    clock.advance(90)
    assert not queue.heartbeat(claim, lease_s=30).overdue


def test_a_cancelled_job_is_wanted_again(queue: JobQueue, job: Job) -> None:
    queue.request_cancel(job.job_id, force=True)
    assert queue.retry(job.job_id).desired is Desired.RUN
    assert claimed(queue).job_id == job.job_id


def test_what_waits_for_a_failed_job_follows_it_when_both_are_tried_again(
    queue: JobQueue, spec: TrainSpec, job: Job
) -> None:
    waiting = enqueue(queue, spec.model_copy(update={"after": (job.job_id,)}))
    queue.settle(claimed(queue), FAILURE)
    with pytest.raises(JobBusy, match="try that one again first"):
        queue.retry(waiting.job_id)
    queue.retry(job.job_id)
    assert queue.retry(waiting.job_id).state is JobState.BLOCKED


def test_a_study_whose_runs_ended_for_good_is_to_be_cloned(queue: JobQueue) -> None:
    spec = AblationSpec.model_validate({"preset": "tiny", "study": "oicr-against-sdcn"}).resolve()
    job, _ = queue.enqueue(spec, idempotency_key=None, body_digest="")
    queue.settle(claimed(queue), FAILURE)
    with pytest.raises(JobAlreadyEnded, match=f"POST /v1/jobs/{job.job_id}/clone"):
        queue.retry(job.job_id)


def test_a_spec_of_another_version_is_to_be_submitted_anew(queue: JobQueue, engine: Engine, job: Job) -> None:
    queue.request_cancel(job.job_id)
    with engine.begin() as connection:
        connection.execute(text("""UPDATE job SET spec = '{"kind": "forgotten"}'"""))
    with pytest.raises(SpecUnreadable, match="submit it anew"):
        queue.retry(job.job_id)
    assert queue.get(job.job_id).state is JobState.CANCELLED


def test_a_deleted_job_leaves_a_note_until_its_files_are_gone(queue: JobQueue, engine: Engine, job: Job) -> None:
    claim = claimed(queue)
    queue.attach_tracking(job.job_id, "run-1")
    with pytest.raises(JobBusy, match="cancel it first"):
        queue.delete(job.job_id)
    queue.settle(claim, FAILURE)
    queue.delete(job.job_id)
    with pytest.raises(JobNotFound):
        queue.get(job.job_id)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM job_event")) == 0
    assert [(note.job_id, note.tracking_run_id) for note in queue.deletions()] == [(job.job_id, "run-1")]
    queue.deleted(job.job_id)
    queue.deleted(job.job_id)
    assert queue.deletions() == ()


def test_a_job_whose_model_is_still_used_is_kept(queue: JobQueue, job: Job) -> None:
    claim = claimed(queue)
    queue.start(claim)
    queue.settle(claim, Settlement.succeeded({}))
    user, _ = queue.enqueue(
        EvaluateSpec(model=f"{job.job_id}/some-run").resolve(), idempotency_key=None, body_digest=""
    )
    assert queue.users_of_model(job.job_id) == (user.job_id,)
    with pytest.raises(JobNeeded, match=user.job_id):
        queue.delete(job.job_id)
    queue.request_cancel(user.job_id)
    queue.delete(job.job_id)
