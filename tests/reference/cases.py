"""Random images as the equations see them: several seeds, and the shapes at which code breaks."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.reference.arithmetic import Array, cells_of_box, present
from tests.reference.detection_branch import eq_2_midn
from tests.reference.segmentation_branch import eq_8_maps

STRIDE = 8


@dataclass(frozen=True)
class Case:
    """One image: B proposals, N classes, P present ones with the background, h x w cells; double precision."""

    labels: Array
    """(N)"""
    boxes: Array
    """(B, 4) xyxy px, whole numbers"""
    cells: NDArray[np.int64]
    """(B, 4) xyxy in cells"""
    proposal_logits: Array
    class_logits: Array
    midn: Array
    """D^m, (B, N), from the two logits before"""
    refinement_logits: tuple[Array, Array, Array]
    map_logits: Array
    """(N + 1, h, w)"""
    maps: Array
    """S, their softmax"""
    whole_logits: Array
    """(N)"""
    kept_logits: Array
    """(P, N)"""
    erased_logits: Array
    """(P, N)"""

    @property
    def height(self) -> int:
        return int(self.maps.shape[1])

    @property
    def width(self) -> int:
        return int(self.maps.shape[2])


def draw(
    seed: int, *, proposals: int = 12, classes: int = 4, positive: int = 2, height: int = 7, width: int = 9
) -> Case:
    random = np.random.default_rng(seed)
    labels = np.zeros(classes)
    labels[random.permutation(classes)[:positive]] = 1
    x1 = random.integers(0, width * STRIDE - 1, proposals)
    y1 = random.integers(0, height * STRIDE - 1, proposals)
    x2 = random.integers(x1 + 1, width * STRIDE + 1)
    y2 = random.integers(y1 + 1, height * STRIDE + 1)
    boxes = np.stack([x1, y1, x2, y2], axis=1).astype(np.float64)
    cells = np.array([cells_of_box(box, STRIDE, height, width) for box in boxes], dtype=np.int64)
    proposal_logits, class_logits = random.normal(size=(2, proposals, classes)) * 2
    refinements = random.normal(size=(3, proposals, classes + 1)) * 2
    map_logits = random.normal(size=(classes + 1, height, width)) * 2
    rows = len(present(labels.tolist()))
    return Case(
        labels=labels,
        boxes=boxes,
        cells=cells,
        proposal_logits=proposal_logits,
        class_logits=class_logits,
        midn=eq_2_midn(proposal_logits, class_logits),
        refinement_logits=(refinements[0], refinements[1], refinements[2]),
        map_logits=map_logits,
        maps=eq_8_maps(map_logits),
        whole_logits=random.normal(size=classes) * 2,
        kept_logits=random.normal(size=(rows, classes)) * 2,
        erased_logits=random.normal(size=(rows, classes)) * 2,
    )


every_case = pytest.mark.parametrize(
    "case",
    [
        pytest.param(draw(0), id="seed-0"),
        pytest.param(draw(1), id="seed-1"),
        pytest.param(draw(2, height=1, width=13), id="one-row-of-cells"),
        pytest.param(draw(3, proposals=1), id="one-proposal"),
        pytest.param(draw(4, positive=0), id="no-positive-class"),
        pytest.param(draw(5, classes=1, positive=1), id="one-class"),
        pytest.param(draw(6, classes=40, positive=5), id="forty-classes"),
        pytest.param(draw(7, classes=40, positive=40, proposals=9), id="more-positive-classes-than-proposals"),
    ],
)
"""Runs a test on every case."""
