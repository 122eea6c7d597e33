"""Remove what a dead driver left reserved in a cluster.

`python -m workers.ray_runtime.placement_groups <address> <driver job id>`
"""

import sys

import ray
from ray._raylet import PlacementGroupID
from ray.util.placement_group import PlacementGroup, remove_placement_group
from ray.util.state import list_placement_groups


def remove_of(driver_job_id: str) -> int:
    """Remove the placement groups that the driver created, in the connected cluster; how many there were."""
    # Without the address it would look for Rays on this host, and give up where it finds several.
    address = ray.get_runtime_context().gcs_address
    theirs = [("creator_job_id", "=", driver_job_id)]
    found = [
        group.placement_group_id
        for group in list_placement_groups(address=address, filters=theirs, limit=1000)
        if group.state != "REMOVED"
    ]
    for identity in found:
        remove_placement_group(PlacementGroup(PlacementGroupID.from_hex(identity)))
    return len(found)


def main(arguments: list[str]) -> int:
    address, driver_job_id = arguments
    ray.init(address=address, log_to_driver=False)
    remove_of(driver_job_id)
    ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
