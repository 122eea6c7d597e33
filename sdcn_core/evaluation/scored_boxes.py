"""What a detector finds of one image before anything is selected. N proposals, C classes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ScoredBoxes:
    """A score and a box of each class for each proposal."""

    scores: NDArray[np.float32]
    """(N, C) in [0, 1], without background"""
    boxes: NDArray[np.floating]
    """(N, 4) xyxy px of the image, half-open: the proposals, or where a network regresses boxes (N, C, 4)"""

    def shortlisted(self, limit: int) -> "ScoredBoxes":
        """The best `limit` of each class alone, best first, equals in their order: (K, C) scores of (K, C, 4) boxes.

        Whatever asks for no more than the best boxes of a class finds the same as in the whole. Where all classes share
        the proposals there is nothing to gain, and this is the whole.
        """
        if self.boxes.ndim == 2 or len(self.scores) <= limit:
            return self
        rows = np.argsort(-self.scores, axis=0, kind="stable")[:limit]  # (K, C)
        return ScoredBoxes(
            np.take_along_axis(self.scores, rows, axis=0), np.take_along_axis(self.boxes, rows[..., None], axis=0)
        )


def boxes_at(
    boxes: NDArray[np.floating], rows: NDArray[np.int64] | slice, classes: NDArray[np.int64] | int
) -> NDArray[np.floating]:
    """The boxes (K, 4) in these rows, as those of these classes, among boxes (N, 4) that all share or (N, C, 4)."""
    return boxes[rows] if boxes.ndim == 2 else boxes[rows, classes]
