"""What a predictor finds in one image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class FoundBox:
    class_name: str
    score: float
    """in [0, 1]"""
    xyxy: tuple[float, float, float, float]
    """px of the image, half-open"""

    def to_json(self) -> dict[str, Any]:
        return {"class": self.class_name, "score": self.score, "xyxy": list(self.xyxy)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(value["class"], value["score"], tuple(value["xyxy"]))


@dataclass(frozen=True)
class Seconds:
    """Wall time by part of the work."""

    proposals: float
    network: float
    """all scales and mirror images"""
    nms: float

    @property
    def total(self) -> float:
        return self.proposals + self.network + self.nms

    def to_json(self) -> dict[str, float]:
        return {"proposals": self.proposals, "network": self.network, "nms": self.nms, "total": self.total}


@dataclass(frozen=True)
class Prediction:
    width: int
    height: int
    detections: tuple[FoundBox, ...]
    """best first, over all classes"""
    num_proposals: int
    seconds: Seconds
    waited_s: float = 0.0
    """for the searches of others in this process; not in `seconds`"""

    def to_json(self) -> dict[str, Any]:
        """width, height, proposals, boxes: [{class, score, xyxy}], seconds."""
        return {
            "width": self.width,
            "height": self.height,
            "proposals": self.num_proposals,
            "boxes": [box.to_json() for box in self.detections],
            "seconds": self.seconds.to_json(),
        }
