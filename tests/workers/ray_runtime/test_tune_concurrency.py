import pytest

from service.jobs.base_spec import Resources
from service.jobs.capacity import Node
from workers.errors import ClusterTooSmall
from workers.ray_runtime.cluster import Cluster
from workers.ray_runtime.resources import share_of_study, side_by_side


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
    there = cluster(*nodes)
    assert side_by_side(share_of_study(resources, there), there, max_parallel) == concurrent


def test_gpus_limit_trials_too() -> None:
    there = cluster(8, gpus=3)
    assert side_by_side(share_of_study(Resources(gpus_per_worker=1), there), there, None) == 3


def test_a_trial_gets_one_cpu_unless_it_asks_for_more() -> None:
    assert share_of_study(Resources(), cluster(8)).cpus == 1
    assert share_of_study(Resources(cpus_per_worker=4), cluster(8)).cpus == 4


def test_a_trial_that_never_fits_is_refused() -> None:
    with pytest.raises(ClusterTooSmall, match="2 workers with 2 CPUs"):
        share_of_study(Resources(num_workers=2, cpus_per_worker=2), cluster(2))
