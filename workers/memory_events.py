"""Whether the kernel killed for memory: the only witness is the control group's counter."""

from pathlib import Path

CGROUP_ROOT = Path("/sys/fs/cgroup")


def oom_kills(root: Path = CGROUP_ROOT, own_groups: Path = Path("/proc/self/cgroup")) -> int | None:
    """Processes of our control group that the kernel has killed for memory so far; None where it is not counted.

    Reads memory.events of cgroup v2 and memory.oom_control of v1. Inside a container the group is mounted as the root.
    """
    for path in _counters(root, own_groups):
        try:
            lines = path.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None


def _counters(root: Path, own_groups: Path) -> list[Path]:
    paths = []
    try:
        lines = own_groups.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            paths.append(root / group.lstrip("/") / "memory.events")
        elif "memory" in controllers.split(","):
            paths.append(root / "memory" / group.lstrip("/") / "memory.oom_control")
    return [*paths, root / "memory.events", root / "memory" / "memory.oom_control"]
