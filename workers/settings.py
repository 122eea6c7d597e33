"""What an operator can set about a worker, from the environment (SDCN_...), on top of what the API reads too."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from service.settings import ServiceSettings


class WorkerSettings(ServiceSettings):
    """Settings of one worker process; `home` and `database_url` must be those of the API."""

    data_root: Path | None = None
    """folder below which data sets lie; none: <home>/data"""
    weights_root: Path | None = None
    """folder below which pretrained weights lie; none: <home>/weights"""

    ray_address: str = "local"
    """of a running Ray cluster (host:port); `local` starts one for each attempt and ends it with the attempt"""
    ray_auth_mode: Literal["token", "disabled"] = "token"
    """whether Ray's processes ask each other for a token; must be what the cluster at ray_address was started with"""
    ray_start_timeout_s: float = Field(default=120, gt=0)
    """a worker group that has not started by then counts as a failure of the infrastructure"""
    ray_num_cpus: int | None = Field(default=None, ge=1)
    """CPUs that a local cluster offers; none: what this process may use"""

    mlflow_tracking_uri: str | None = None
    """where runs are recorded; none: nowhere"""
    mlflow_experiment: str = Field(default="sdcn", min_length=1, max_length=200)
    tracking_flush_timeout_s: float = Field(default=20, ge=0)
    """how long an ended attempt waits for MLflow to hear its last numbers; the rest is delivered later"""

    poll_interval_s: float = Field(default=0.5, gt=0)
    """pause between two looks into an empty queue"""
    heartbeat_interval_s: float = Field(default=10, gt=0)
    lease_s: float = Field(default=30, gt=0)
    """a job whose worker has not beaten for so long may be taken by another"""
    progress_interval_s: float = Field(default=1, ge=0)
    """shortest time between two writes of a job's progress into the queue"""
    stop_grace_s: float = Field(default=60, ge=0)
    """from the request to stop until the child is interrupted"""
    interrupt_grace_s: float = Field(default=15, ge=0)
    """from the interrupt until the child's session is killed"""
    checkpoints_to_keep: int = Field(default=2, ge=1)
    """newest checkpoints of a run that stay on disk"""

    @property
    def resolved_data_root(self) -> Path:
        return self.data_root or self.home / "data"

    @property
    def resolved_weights_root(self) -> Path:
        return self.weights_root or self.home / "weights"
