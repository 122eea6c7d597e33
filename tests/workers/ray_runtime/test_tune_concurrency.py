import pytest

from service.jobs.base_spec import Resources
from workers.errors import ClusterTooSmall
from workers.ray_runtime.cluster import Cluster, Node
from workers.ray_runtime.tune_concurrency import trials_side_by_side


def cluster(*cpus: float, gpus: float = 0) -> Cluster:
    return Cluster(nodes=tuple(Node(cpus=n, gpus=gpus) for n in cpus), is_local=True, driver_job_id="01")


@pytest.mark.parametrize(
    ("nodes", "resources", "max_parallel", "concurrent"),
    [
        ((2,), Resources(), None, 2),
        ((2,), Resources(), 1, 1),
        ((2,), Resources(), 50, 2),
        ((4,), Resources(cpus_per_worker=2), None, 2),
        ((3, 3), Resources(cpus_per_worker=2), None, 2),  # a process does not spread over nodes
        ((2,), Resources(num_workers=2), None, 1),
        ((4,), Resources(num_workers=2), None, 2),
        ((3, 2), Resources(num_workers=2), None, 2),  # a trial may
    ],
)
def test_as_many_trials_as_there_is_room_for_all_their_processes(
    nodes: tuple[float, ...], resources: Resources, max_parallel: int | None, concurrent: int
) -> None:
    assert trials_side_by_side(resources, cluster(*nodes), max_parallel).concurrent == concurrent


def test_gpus_limit_trials_too() -> None:
    shares = trials_side_by_side(Resources(gpus_per_worker=1), cluster(8, gpus=3), None)
    assert (shares.concurrent, shares.share.gpus) == (3, 1)


def test_a_trial_gets_one_cpu_unless_it_asks_for_more() -> None:
    assert trials_side_by_side(Resources(), cluster(8), None).share.cpus == 1
    assert trials_side_by_side(Resources(cpus_per_worker=4), cluster(8), None).share.cpus == 4


def test_a_trial_that_never_fits_is_refused() -> None:
    with pytest.raises(ClusterTooSmall, match="2 workers with 2 CPUs"):
        trials_side_by_side(Resources(num_workers=2, cpus_per_worker=2), cluster(2), None)
