"""Print what a shared cluster has, as JSON: `python -m workers.ray_runtime.capacity <address>`."""

import sys

import ray

from service.jobs.capacity import Capacity
from workers.ray_runtime.cluster import nodes_alive


def main(arguments: list[str]) -> int:
    (address,) = arguments
    ray.init(address=address, log_to_driver=False)
    capacity = Capacity(nodes=nodes_alive(), grows=True)
    ray.shutdown()
    sys.stdout.write(capacity.model_dump_json() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
