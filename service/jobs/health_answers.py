"""What the API answers about itself: what is up, and what is down."""

from enum import StrEnum
from typing import Literal

from service.jobs.answers import Answer
from service.jobs.states import JobState


class ComponentName(StrEnum):
    """What the service stands on."""

    DATABASE = "database"
    DISK = "disk"
    """room where the service keeps everything"""
    WORKERS = "workers"
    """at least one has beaten lately"""
    RAY = "ray"
    """the workers reach their cluster"""
    MLFLOW = "mlflow"
    PREDICTOR = "predictor"
    CHECKPOINTS = "checkpoints"


class ComponentState(StrEnum):
    UP = "up"
    DOWN = "down"
    UNUSED = "unused"
    """the settings name none"""


class ComponentRead(Answer):
    name: ComponentName
    state: ComponentState
    detail: str | None
    """of one that is down: what is wrong, and the way out"""
    seconds: float
    """that the question took"""


class Ready(Answer):
    """Jobs can be taken in. What else is down is named: they wait for it."""

    status: Literal["ready"] = "ready"
    jobs: dict[JobState, int]
    """how many are in each state"""
    oldest_waiting_s: float | None
    """how long the oldest claimable job has been waiting; large where no worker runs"""
    components: tuple[ComponentRead, ...]
