"""How far a running job is, as the worker last told the queue."""

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class JobProgress(BaseModel):
    """The latest report of a running attempt; a new report replaces it whole."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    stage: str = Field(max_length=64)
    """data, backbone, classifier, apart, loop or evaluate; of other kinds study, predict or check"""
    step: int = Field(ge=0)
    """within the stage"""
    stage_steps: int = Field(ge=0)
    """steps of the stage in all"""
    fraction: float = Field(ge=0, le=1)
    """of the whole run's estimated work"""
    eta_s: float | None = Field(default=None, ge=0)
    """estimated seconds to the end of the run; null: not known yet"""
    global_step: int = Field(ge=0)
    """optimizer steps over all stages, the x axis of the series in MLflow"""
    metrics: dict[str, float] = Field(default_factory=dict, max_length=200)
    """the latest values, finite ones only"""
    message: str | None = Field(default=None, max_length=500)
    """what is going on, where numbers do not say it"""
    updated_at: AwareDatetime
    """when the worker wrote this, by the database's clock"""
