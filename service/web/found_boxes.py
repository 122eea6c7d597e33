"""The predictor's answer on one image, ready to be drawn over it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

COLOURS = 8
"""how many the style sheet knows"""
MAX_DRAWN = 200


class _Box(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    class_name: str = Field(alias="class")
    score: float
    xyxy: tuple[float, float, float, float]


class _Seconds(BaseModel):
    total: float | None = None


class _Image(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False)

    width: int = Field(ge=1)
    height: int = Field(ge=1)
    boxes: tuple[_Box, ...]
    seconds: _Seconds = _Seconds()


class _Answer(BaseModel):
    images: tuple[_Image, ...] = Field(min_length=1)


@dataclass(frozen=True)
class FoundBox:
    label: str
    score: float
    """in [0, 1]"""
    x: float
    y: float
    width: float
    height: float
    """px of the image"""
    colour: int
    """1 to COLOURS, equal for equal classes"""


@dataclass(frozen=True)
class FoundBoxes:
    width: int
    height: int
    """px"""
    boxes: tuple[FoundBox, ...]
    """best first"""
    seconds: float | None

    def above(self, least_score: float) -> Self:
        """Those with at least this score, at most MAX_DRAWN."""
        return replace(self, boxes=tuple(box for box in self.boxes if box.score >= least_score)[:MAX_DRAWN])


def read_boxes(answer: Mapping[str, Any]) -> FoundBoxes:
    """The boxes of the first image of an answer of POST /v1/models/{id}/predict.

    Raises:
        ValueError: it is none.
    """
    try:
        image = _Answer.model_validate(answer).images[0]
    except ValidationError as error:
        raise ValueError("no answer of a predictor") from error
    classes = {name: index for index, name in enumerate(dict.fromkeys(box.class_name for box in image.boxes))}
    boxes = [
        FoundBox(
            label=box.class_name,
            score=box.score,
            x=box.xyxy[0],
            y=box.xyxy[1],
            width=max(0.0, box.xyxy[2] - box.xyxy[0]),
            height=max(0.0, box.xyxy[3] - box.xyxy[1]),
            colour=classes[box.class_name] % COLOURS + 1,
        )
        for box in image.boxes
    ]
    ordered = sorted(boxes, key=lambda box: -box.score)
    return FoundBoxes(image.width, image.height, tuple(ordered), image.seconds.total)
