"""What a worker tells of itself with each heartbeat, for operators."""

from pydantic import BaseModel, ConfigDict, Field


class _Figures(BaseModel):
    # A worker of a later version may tell more; what an older API does not know it passes over.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True)


class GpuFigures(_Figures):
    """One GPU of the worker's machine, whoever uses it."""

    index: int = Field(ge=0)
    use: float | None = Field(default=None, ge=0, le=1)
    """share of the last moments in which it computed; null: it does not say"""
    memory_bytes: int = Field(ge=0)
    """in use"""
    memory_total_bytes: int = Field(ge=0)


class WorkerFigures(_Figures):
    """Counts begin with the worker's process."""

    heartbeats: int = Field(default=0, ge=0)
    """of the worker itself, this one counted"""
    lease_renewals: int = Field(default=0, ge=0)
    lease_renewals_failed: int = Field(default=0, ge=0)
    """the queue could not be reached"""
    leases_lost: int = Field(default=0, ge=0)
    memory_bytes: int = Field(default=0, ge=0)
    """resident, of the worker's own process"""
    attempt_memory_bytes: int | None = Field(default=None, ge=0)
    """resident, of all processes of the attempt on this machine, what they share counted for each; null: none runs"""
    steps_per_second: float | None = Field(default=None, ge=0)
    """optimizer steps of the attempt at work, over its last reports; null: none is, or it has not said"""
    disk_free_bytes: int | None = Field(default=None, ge=0)
    """where the service's home lies"""
    gpus: tuple[GpuFigures, ...] = ()
