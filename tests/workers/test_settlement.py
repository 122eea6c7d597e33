from typing import Any

import pytest

from service.jobs.states import FailureReason, JobState
from service.queue.records import Settlement
from workers.attempt_folder import Failed, Outcome, Stopped, Succeeded
from workers.lease_watch import LEASE_OVER
from workers.ray_runtime.raylet_watch import RAY_LOST
from workers.settlement import StopCause, settlement_of


def settle(outcome: Outcome | None, **seen: Any) -> Settlement:
    facts: dict[str, Any] = {"exit_status": 0, "causes": (), "memory_kills": 0}
    return settlement_of(outcome, **(facts | seen))


def failed(reason: FailureReason) -> Failed:
    return Failed(reason=reason, message="why")


def test_a_success_outlives_a_cancel_and_a_drain() -> None:
    ended = settle(Succeeded(results={"a": 1}), causes={StopCause.CANCEL, StopCause.SHUTDOWN})
    assert (ended.state, ended.results) == (JobState.SUCCEEDED, {"a": 1})


def test_a_failure_that_would_come_again_outlives_a_cancel() -> None:
    assert settle(failed(FailureReason.BAD_INPUT), causes={StopCause.CANCEL}).state is JobState.FAILED


def test_a_passing_failure_of_a_cancelled_job_is_its_cancellation() -> None:
    assert settle(failed(FailureReason.INFRASTRUCTURE), causes={StopCause.CANCEL}).state is JobState.CANCELLED


def test_a_killed_child_of_a_cancelled_job_is_its_cancellation() -> None:
    assert settle(None, exit_status=-9, causes={StopCause.CANCEL}).state is JobState.CANCELLED


def test_a_stop_nobody_asked_for_is_tried_again() -> None:
    assert settle(Stopped()).state is JobState.RETRY_WAIT


def test_a_lost_process_is_out_of_memory_when_the_kernel_killed_for_it() -> None:
    lost = settle(failed(FailureReason.LOST_WORKER), memory_kills=1)
    assert (lost.state, lost.reason) == (JobState.FAILED, FailureReason.OUT_OF_MEMORY)


def test_a_failure_with_a_cause_of_its_own_is_not_blamed_on_memory() -> None:
    assert settle(failed(FailureReason.DIVERGED), memory_kills=1).reason is FailureReason.DIVERGED


def test_an_exit_without_a_word_names_the_signal() -> None:
    assert settle(None, exit_status=-11).message == "the training process was ended by signal 11 (SIGSEGV)"


def test_a_signal_without_a_name_is_told_by_its_number() -> None:
    assert "signal 63" in (settle(None, exit_status=-63).message or "")


def test_a_shutdown_of_the_worker_costs_the_job_no_attempt() -> None:
    released = settle(Stopped(), causes={StopCause.SHUTDOWN})
    assert (released.state, released.counted) == (JobState.RETRY_WAIT, False)


def test_a_child_stopped_for_a_pause_leaves_the_job_paused() -> None:
    assert settle(Stopped(), causes={StopCause.PAUSE, StopCause.SHUTDOWN}).state is JobState.PAUSED


def test_an_end_that_is_wanted_outweighs_a_pause() -> None:
    assert settle(Stopped(), causes={StopCause.PAUSE, StopCause.CANCEL}).state is JobState.CANCELLED


def test_a_job_stopped_for_its_time_fails_even_where_a_pause_was_wanted() -> None:
    ended = settle(Stopped(), causes={StopCause.TOO_LONG, StopCause.PAUSE})
    assert (ended.state, ended.reason) == (JobState.FAILED, FailureReason.DEADLINE)


def test_a_child_that_never_began_is_the_infrastructures_failure() -> None:
    ended = settle(None, exit_status=-9, causes={StopCause.NEVER_BEGAN})
    assert (ended.state, ended.reason) == (JobState.RETRY_WAIT, FailureReason.INFRASTRUCTURE)


def test_a_child_that_ended_because_its_worker_stood_still_is_not_the_jobs_own_crash() -> None:
    ended = settle(None, exit_status=LEASE_OVER)
    assert (ended.state, ended.reason) == (JobState.RETRY_WAIT, FailureReason.LOST_WORKER)


@pytest.mark.parametrize("seen", [{"exit_status": RAY_LOST}, {"exit_status": 1, "ray_is_lost": True}])
def test_a_child_that_ray_took_along_is_the_infrastructures_failure(seen: dict[str, Any]) -> None:
    ended = settle(None, **seen)
    assert (ended.state, ended.reason) == (JobState.RETRY_WAIT, FailureReason.INFRASTRUCTURE)


def test_a_child_that_was_killed_is_its_own_crash_though_ray_is_lost_too() -> None:
    assert settle(None, exit_status=-9, ray_is_lost=True).reason is FailureReason.CRASHED
