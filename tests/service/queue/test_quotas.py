"""A key has as many jobs waiting, and as many GPUs at work, as it may: also when all ask at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine

from service.errors import InvalidSpec, QuotaExceeded
from service.jobs.access import KeySpec, Scope
from service.jobs.base_spec import Resources
from service.jobs.gpus import gpus_at_once
from service.jobs.specs import AblationSpec, TrainSpec
from service.jobs.states import FailureReason, JobState
from service.queue.callers import LOCAL, Caller, called_by
from service.queue.keys import KeyRegister
from service.queue.records import Job, Settlement
from service.queue.repository import JobQueue
from tests.service.clock import FakeClock
from tests.service.conftest import enqueue


def key_with(engine: Engine, **quotas: int) -> Caller:
    made, _ = KeyRegister(engine).create(KeySpec(name="ada", scope=Scope.SUBMIT, **quotas))
    return Caller(made.key_id, made.name, made.scope)


def submit(queue: JobQueue, spec: TrainSpec, caller: Caller, *, gpus: int = 0) -> Job:
    resources = Resources(gpus_per_worker=gpus)
    with called_by(caller):
        return enqueue(queue, spec.model_copy(update={"resources": resources}))


def test_no_more_jobs_wait_than_may(queue: JobQueue, engine: Engine, spec: TrainSpec) -> None:
    caller = key_with(engine, max_queued_jobs=2)
    first = submit(queue, spec, caller)
    submit(queue, spec, caller)
    with pytest.raises(QuotaExceeded, match="2 jobs of the key of ada wait"):
        submit(queue, spec, caller)
    submit(queue, spec, LOCAL)
    submit(queue, spec, key_with(engine, max_queued_jobs=1))
    queue.request_pause(first.job_id)  # paused is waiting too
    with pytest.raises(QuotaExceeded):
        submit(queue, spec, caller)
    queue.request_cancel(first.job_id)
    submit(queue, spec, caller)


def test_of_many_submits_at_once_no_more_are_taken_than_may(queue: JobQueue, engine: Engine, spec: TrainSpec) -> None:
    caller = key_with(engine, max_queued_jobs=3)

    def is_taken(_number: int) -> bool:
        try:
            submit(queue, spec, caller)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(is_taken, range(12))) == 3


def test_a_job_that_is_tried_again_waits_again(queue: JobQueue, engine: Engine, spec: TrainSpec) -> None:
    caller = key_with(engine, max_queued_jobs=1)
    failed = submit(queue, spec, caller)
    queue.request_cancel(failed.job_id)
    other = submit(queue, spec, caller)
    with pytest.raises(QuotaExceeded):
        queue.retry(failed.job_id)
    queue.request_cancel(other.job_id)
    assert queue.retry(failed.job_id).state is JobState.QUEUED


def test_jobs_wait_while_their_key_has_all_the_gpus_it_may(
    queue: JobQueue, engine: Engine, spec: TrainSpec, clock: FakeClock
) -> None:
    caller = key_with(engine, max_running_gpus=3)
    submitted = []
    for gpus in (2, 2, 2, 0):
        submitted.append(submit(queue, spec, caller, gpus=gpus))
        clock.advance(1)
    first, second, third, without = submitted
    claim = queue.claim("w", lease_s=60)
    assert claim is not None
    assert claim.job_id == first.job_id
    passed_over = queue.claim("w", lease_s=60)  # what needs no GPU, or is another's, goes past those that wait
    assert passed_over is not None
    assert passed_over.job_id == without.job_id
    assert queue.claim("w", lease_s=60) is None
    place = queue.place(second.job_id)
    assert place is not None
    assert [one.kind for one in place.waiting_on if one.kind == "quota"] == ["quota"]
    assert "hold 2 of 3" in next(one.detail for one in place.waiting_on if one.kind == "quota")
    queue.settle(claim, Settlement.failed(FailureReason.BAD_INPUT, "no"))
    following = queue.claim("w", lease_s=60)
    assert following is not None
    assert following.job_id == second.job_id
    assert queue.get(third.job_id).state is JobState.QUEUED


def test_of_many_claims_at_once_no_more_gpus_are_held_than_may(
    queue: JobQueue, engine: Engine, spec: TrainSpec
) -> None:
    caller = key_with(engine, max_running_gpus=4)
    for _ in range(6):
        submit(queue, spec, caller, gpus=2)
    with ThreadPoolExecutor(6) as pool:
        claims = list(pool.map(lambda number: queue.claim(f"w{number}", lease_s=60), range(6)))
    assert sum(claim is not None for claim in claims) == 2


def test_what_would_never_run_is_refused_at_once(queue: JobQueue, engine: Engine, spec: TrainSpec) -> None:
    caller = key_with(engine, max_running_gpus=1)
    with pytest.raises(InvalidSpec, match="would hold 2 GPUs") as refused:
        submit(queue, spec, caller, gpus=2)
    assert refused.value.fields[0].field == "resources.gpus_per_worker"


def test_a_study_holds_the_gpus_of_all_runs_that_are_side_by_side() -> None:
    variants = [{"name": "a", "overrides": {}}, {"name": "b", "overrides": {"objective.tau_0": 0.3}}]
    asked = {"preset": "tiny", "seeds": [0, 1], "variants": variants, "resources": {"gpus_per_worker": 2}}
    study = AblationSpec.model_validate(asked).resolve()
    for max_parallel, runs in ((None, 4), (3, 3), (200, 4)):
        assert gpus_at_once(study.model_copy(update={"max_parallel": max_parallel})) == 2 * runs
