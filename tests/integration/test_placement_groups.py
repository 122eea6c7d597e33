"""What a dead driver has reserved in a shared cluster is given back, and nothing of anybody else."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from workers.attempt_folder import RayOrder
from workers.ray_runtime.environment import ray_environment

pytestmark = pytest.mark.integration

SCRIPT = """
import subprocess, sys
from pathlib import Path
import ray
from ray.util.placement_group import placement_group, placement_group_table
from workers.attempt_folder import RayOrder
from workers.ray_runtime.cluster import connected

scratch = Path(sys.argv[1])
order = RayOrder(address="local", auth_mode="token", start_timeout_s=60, num_cpus=2, checkpoints_to_keep=2)
with connected(order, scratch) as cluster:
    ray.get([placement_group([{"CPU": 1}]).ready() for _ in range(2)])
    address = ray.get_runtime_context().gcs_address
    remove = [sys.executable, "-m", "workers.ray_runtime.placement_groups", address]
    subprocess.run([*remove, "7f000000"], check=True)
    print("after another driver's:", sorted(group["state"] for group in placement_group_table().values()))
    subprocess.run([*remove, cluster.driver_job_id], check=True)
    print("after its own:", sorted(group["state"] for group in placement_group_table().values()))
"""


def test_groups_of_the_named_driver_are_removed_and_no_others() -> None:
    with tempfile.TemporaryDirectory(prefix="sdcn-") as scratch:
        order = RayOrder(address="local", auth_mode="token", start_timeout_s=60, num_cpus=2, checkpoints_to_keep=2)
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, scratch],
            env={**os.environ, **ray_environment(order, Path(scratch))},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert "after another driver's: ['CREATED', 'CREATED']" in done.stdout, done.stderr[-3000:]
    assert "after its own: ['REMOVED', 'REMOVED']" in done.stdout, done.stderr[-3000:]
