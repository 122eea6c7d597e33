"""What is taken of a Ray cluster, as one line of JSON: `python -m tests.chaos.ray_usage <address>`.

A process of its own, so that a cluster that is killed takes nobody along.
"""

import json
import sys

import ray
from ray.util.state import list_actors, list_placement_groups

STAYS = "_AutoscalingCoordinatorActor"
"""of Ray Train's own: one a cluster, which outlives all trainings"""


def main(address: str) -> None:
    ray.init(address=address, log_to_driver=False)
    groups = [group for group in list_placement_groups(address=address, limit=1000) if group.state != "REMOVED"]
    actors = [actor for actor in list_actors(address=address, limit=1000) if actor.state == "ALIVE"]
    processes = sum(actor.class_name != STAYS for actor in actors)
    total, free = ray.cluster_resources().get("CPU", 0), ray.available_resources().get("CPU", 0)
    sys.stdout.write(json.dumps({"total": total, "free": free, "groups": len(groups), "actors": processes}) + "\n")
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
