"""Ray's settings that are read from the environment, set before Ray is imported for the first time. Imports no Ray."""

from collections.abc import Mapping
from pathlib import Path

from workers.attempt_folder import RayOrder

LOCAL = "local"

REPORT_POLL_S = 0.25
"""Ray's controller looks for reports this often, and report() waits for it: its default of 2 s would slow training"""


def ray_environment(order: RayOrder, scratch: Path) -> Mapping[str, str]:
    """What Ray must find in the environment of the process that imports it."""
    variables = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS": "0",
        "RAY_COLOR_PREFIX": "0",  # its output goes to a file
        "RAY_DISABLE_IMPORT_WARNING": "1",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",  # a job that asked for no GPU sees none
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "RAY_AUTH_MODE": order.auth_mode,  # never left to Ray: both sides must agree, and its default changes
        "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": str(REPORT_POLL_S),
        "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(order.start_timeout_s),
    }
    if order.address == LOCAL:
        variables["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # nobody preempts a cluster of one's own
        # Torch's gloo asks the resolver for the host's own name, which a laptop off the network does not have.
        variables["GLOO_SOCKET_IFNAME"] = "lo"
        if order.auth_mode == "token":
            variables["RAY_AUTH_TOKEN_PATH"] = str(token_path(scratch))
    return variables


def token_path(scratch: Path) -> Path:
    """Where the token of a local cluster lies: Ray would make one in the home folder and keep it for ever."""
    return scratch / "ray-token"
