"""Boxes that nobody drew: what one detector found, for another one to learn from."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class PseudoBoxes:
    """Of one image. M boxes, M may be 0; by class, best first within a class."""

    boxes: NDArray[np.float32]
    """(M, 4) xyxy px of the image, half-open, of positive area"""
    classes: NDArray[np.int64]
    """(M,) class index in [0, C)"""
    scores: NDArray[np.float32]
    """(M,) in [0, 1]"""

    @classmethod
    def none(cls) -> "PseudoBoxes":
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))

    def __len__(self) -> int:
        return len(self.boxes)
