"""What an operator can set about a worker, from the environment (SDCN_...), on top of what the API reads too."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from service.queue.deadlines import Deadlines
from service.settings import ServiceSettings
from workers.attempt_folder import RayOrder


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
    reconcile_interval_s: float = Field(default=5, gt=0)
    """between two rounds in which one worker looks after lost jobs, deadlines and what was left behind"""
    leftovers_interval_s: float = Field(default=60, gt=0)
    """between two looks at what ended and deleted jobs have left in MLflow, in a shared cluster and on disk"""
    checkpoint_retention_s: float | None = Field(default=None, ge=0)
    """how long after a training has succeeded its checkpoints stay; its model stays anyway; none: for ever"""
    capacity_interval_s: float = Field(default=300, gt=0)
    """between two questions to a shared cluster what it has"""
    progress_interval_s: float = Field(default=1, ge=0)
    """shortest time between two writes of a job's progress into the queue"""
    stop_grace_s: float = Field(default=60, ge=0)
    """from the request to stop until the child is interrupted"""
    interrupt_grace_s: float = Field(default=15, ge=0)
    """from the interrupt until the child's session is killed"""
    claimed_timeout_s: float = Field(default=120, gt=0)
    """from the claim until the child process is started"""
    starting_timeout_s: float = Field(default=900, gt=0)
    """from there until it says its first word; Ray starts meanwhile"""
    stopping_timeout_s: float = Field(default=300, gt=0)
    """from the request to stop until the child is gone; longer than the two times above"""
    deadline_grace_s: float = Field(default=60, ge=0)
    """how much later than that, or than a job's max_runtime_s, a job is taken from a worker that has not acted"""
    checkpoints_to_keep: int = Field(default=2, ge=1)
    """newest checkpoints of a run that stay on disk"""

    @model_validator(mode="after")
    def _stopping_leaves_time(self) -> Self:
        graces_s = self.stop_grace_s + self.interrupt_grace_s
        if self.stopping_timeout_s <= graces_s:
            raise ValueError(
                f"SDCN_STOPPING_TIMEOUT_S must be more than SDCN_STOP_GRACE_S + SDCN_INTERRUPT_GRACE_S = {graces_s:g}"
            )
        return self

    @property
    def ray_order(self) -> RayOrder:
        """How a child reaches Ray."""
        return RayOrder(
            address=self.ray_address,
            auth_mode=self.ray_auth_mode,
            start_timeout_s=self.ray_start_timeout_s,
            num_cpus=self.ray_num_cpus,
            checkpoints_to_keep=self.checkpoints_to_keep,
        )

    @property
    def deadlines(self) -> Deadlines:
        return Deadlines(
            claimed_s=self.claimed_timeout_s,
            starting_s=self.starting_timeout_s,
            stopping_s=self.stopping_timeout_s,
            grace_s=self.deadline_grace_s,
        )

    @property
    def resolved_data_root(self) -> Path:
        return self.data_root or self.home / "data"

    @property
    def resolved_weights_root(self) -> Path:
        return self.weights_root or self.home / "weights"
