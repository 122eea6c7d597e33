"""What the predictor answers. Boxes are xyxy px of the image, half-open; times are seconds."""

from typing import Any, Self

from pydantic import Field

from sdcn_core.inference.prediction import Prediction
from service.jobs.answers import Answer


class BoxRead(Answer):
    class_name: str = Field(alias="class")
    score: float
    """in [0, 1]"""
    xyxy: tuple[float, float, float, float]


class SecondsRead(Answer):
    proposals: float
    network: float
    """all scales and mirror images"""
    nms: float
    total: float


class ImageRead(Answer):
    file: str
    """as the request called it, without folders"""
    width: int
    height: int
    proposals: int
    """how many boxes Selective Search found to be scored"""
    boxes: tuple[BoxRead, ...]
    """best first"""
    seconds: SecondsRead

    @classmethod
    def of(cls, file: str, prediction: Prediction) -> Self:
        values: dict[str, Any] = {"file": file, **prediction.to_json()}
        return cls.model_validate(values)


class PredictionsRead(Answer):
    model: str
    model_sha256: str
    """of its file: the same id may stand for another model after its training was repeated"""
    images: tuple[ImageRead, ...]
    """in the order of the request"""


class PredictorAlive(Answer):
    status: str = "alive"
    models_in_memory: int
