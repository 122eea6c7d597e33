import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayTaskError
from ray.train import ControllerError, WorkerGroupError
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError, WorkerHealthCheckFailedError

from sdcn_core.errors import DatasetError, TrainingDiverged
from workers.errors import ClusterUnavailable, OutOfMemory, TrainingProcessLost
from workers.ray_runtime.failures import translated


def lost() -> WorkerHealthCheckFailedError:
    return WorkerHealthCheckFailedError("rank died", failure=ActorDiedError())


def group(*failures: Exception) -> WorkerGroupError:
    return WorkerGroupError("long text with a traceback", dict(enumerate(failures)))


def test_what_a_rank_raised_on_purpose_is_told() -> None:
    error = DatasetError("a.jpg is broken")
    assert translated(group(error)) is error


def test_it_is_told_before_what_the_other_ranks_suffered_from_it() -> None:
    diverged = TrainingDiverged("loss/mil is nan")
    others = (RuntimeError("Connection closed by peer"), lost(), diverged)
    assert translated(group(*others)) is diverged


def test_a_lost_rank_is_told_before_a_closed_connection() -> None:
    assert isinstance(translated(group(RuntimeError("Connection closed by peer"), lost())), TrainingProcessLost)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("killed"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_memory_is_told_before_a_lost_rank(error: Exception) -> None:
    assert isinstance(translated(group(lost(), error)), OutOfMemory)


def test_a_group_that_never_started_is_the_clusters_fault() -> None:
    assert isinstance(translated(ControllerError(WorkerGroupStartupTimeoutError(2))), ClusterUnavailable)


def test_an_error_wrapped_by_a_task_is_found() -> None:
    error = DatasetError("a.jpg is broken")
    assert translated(ControllerError(RayTaskError("f", "traceback", error))) is error


def test_an_error_with_a_cycle_of_causes_is_understood() -> None:
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert isinstance(translated(group(first)), RuntimeError)
