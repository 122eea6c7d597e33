from pathlib import Path

import pytest
from ray.train import UserCallback

from service.checkpoint_storage import CheckpointStorage
from service.jobs.capacity import Node
from service.jobs.specs import Resources
from workers.errors import ClusterTooSmall, ClusterUnavailable
from workers.ray_runtime.cluster import Cluster
from workers.ray_runtime.resources import Share, run_config, share_of_study, share_out, side_by_side


def cluster(*nodes: tuple[float, float], local: bool = True) -> Cluster:
    return Cluster(tuple(Node(cpus, gpus) for cpus, gpus in nodes), is_local=local, driver_job_id="01000000")


@pytest.fixture(autouse=True)
def no_threads_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_without_a_wish_all_cpus_are_shared_out() -> None:
    assert share_out(Resources(num_workers=3), cluster((8, 0))) == Share(3, 2, 0)


def test_shares_never_span_nodes() -> None:
    assert share_out(Resources(num_workers=2), cluster((4, 0), (3, 0))) == Share(2, 3, 0)


def test_a_single_worker_takes_the_largest_node() -> None:
    assert share_out(Resources(), cluster((4, 0), (6, 0))) == Share(1, 6, 0)


def test_a_wish_is_kept() -> None:
    assert share_out(Resources(num_workers=2, cpus_per_worker=1, gpus_per_worker=1), cluster((16, 2))) == Share(2, 1, 1)


@pytest.mark.parametrize(
    ("threads", "share"), [("2", 2), ("2,4", 2), ("16", 8), ("0", 8), ("many", 8), ("-1", 8), ("", 8)]
)
def test_a_share_is_no_larger_than_the_threads_that_the_worker_was_given(
    threads: str, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert share_out(Resources(), cluster((8, 0))).cpus == share


def test_a_wish_counts_for_more_than_the_threads_that_the_worker_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert share_out(Resources(cpus_per_worker=4), cluster((8, 0))) == Share(1, 4, 0)


def test_more_workers_than_cpus_are_refused_with_what_is_there() -> None:
    with pytest.raises(ClusterTooSmall, match=r"3 workers with 1 CPUs each do not fit .* has 2 CPUs, 0 GPUs"):
        share_out(Resources(num_workers=3), cluster((2, 0)))


def test_gpus_that_are_not_there_are_refused() -> None:
    with pytest.raises(ClusterTooSmall, match="and 1 GPUs each"):
        share_out(Resources(gpus_per_worker=1), cluster((2, 0)))


def test_a_shared_cluster_may_grow_so_the_job_is_tried_again() -> None:
    with pytest.raises(ClusterUnavailable, match="add nodes"):
        share_out(Resources(num_workers=3), cluster((2, 0), local=False))


def test_a_cluster_without_nodes_is_too_small() -> None:
    with pytest.raises(ClusterUnavailable, match="no node"):
        share_out(Resources(), cluster(local=False))


def test_ray_never_repeats_a_failed_training_by_itself(tmp_path: Path) -> None:
    config = run_config(tmp_path / "job-id", checkpoints_to_keep=2, callback=UserCallback())
    assert (config.name, config.storage_path) == ("job-id", str(tmp_path))
    assert config.failure_config.max_failures == 0
    assert config.failure_config.controller_failure_limit >= 0


def test_ray_keeps_a_run_in_a_store_under_the_same_name(bucket_url: str, tmp_path: Path) -> None:
    place = CheckpointStorage(tmp_path, bucket_url).of(tmp_path / "job-id")
    config = run_config(place, checkpoints_to_keep=2, callback=UserCallback())
    assert config.name == "job-id"
    assert f"s3://{config.storage_path}" == bucket_url
    assert config.storage_filesystem is not None
    config.storage_filesystem.create_dir(f"{config.storage_path}/job-id/step-8")
    with config.storage_filesystem.open_output_stream(f"{config.storage_path}/job-id/step-8/checkpoint.pt") as stream:
        stream.write(b"weights")
    assert (place / "step-8" / "checkpoint.pt").read_bytes() == b"weights"


def test_a_training_of_a_study_gets_one_cpu_unless_more_are_wished_for() -> None:
    assert share_of_study(Resources(num_workers=2), cluster((8, 0))) == Share(2, 1, 0)
    assert share_of_study(Resources(cpus_per_worker=3), cluster((8, 0))) == Share(1, 3, 0)


def test_a_study_of_which_not_one_training_fits_is_refused() -> None:
    with pytest.raises(ClusterTooSmall, match="3 workers with 1 CPUs each do not fit"):
        share_of_study(Resources(num_workers=3), cluster((2, 0)))


@pytest.mark.parametrize(
    ("share", "nodes", "at_most", "fitting"),
    [
        (Share(1, 1, 0), [(8, 0)], None, 8),
        (Share(1, 1, 0), [(8, 0)], 3, 3),
        (Share(1, 3, 0), [(8, 0), (4, 0)], None, 3),  # 2 and 1: what is left over on a node serves nobody
        (Share(2, 1, 0), [(3, 0), (2, 0)], None, 2),  # 5 processes: two groups and one that no group gets
        (Share(3, 1, 0), [(2, 0), (2, 0)], None, 1),
        (Share(1, 1, 1), [(16, 2)], None, 2),
        (Share(2, 2, 1), [(4, 4), (16, 1)], 9, 1),
    ],
)
def test_as_many_trainings_as_have_room_for_every_process_run_side_by_side(
    share: Share, nodes: list[tuple[float, float]], at_most: int | None, fitting: int
) -> None:
    assert side_by_side(share, cluster(*nodes), at_most) == fitting
