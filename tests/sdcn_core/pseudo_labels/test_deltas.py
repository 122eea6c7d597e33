import numpy as np
import pytest

from sdcn_core.config.second_stage import PseudoLabelConfig
from sdcn_core.pseudo_labels.deltas import DeltaStatistics, delta_statistics
from sdcn_core.pseudo_labels.labels import PseudoLabels
from sdcn_core.structures.pseudo_boxes import PseudoBoxes
from tests.reference import fast_rcnn
from tests.reference.arithmetic import box_iou
from tests.sdcn_core.evaluation.made_up import FloatArray, random_boxes

RNG = np.random.default_rng(0)
PROPOSALS = {f"im{k}": random_boxes(RNG, 150) for k in range(4)}
LABELS = PseudoLabels(
    ("cat", "dog", "cow"),
    "0" * 64,
    PseudoLabelConfig(),
    {
        name: PseudoBoxes(random_boxes(RNG, k), np.arange(k), np.ones(k, np.float32))
        for k, name in enumerate(PROPOSALS, start=-1)
        if k >= 0
    }
    | {"im0": PseudoBoxes.none()},
)


def slow(c: int, *, flip: bool) -> FloatArray:
    """All deltas of a class, one RoI after another."""
    deltas = []
    for name, found in LABELS.images.items():
        for roi in [*PROPOSALS[name].tolist(), *found.boxes.tolist()]:
            overlaps = [box_iou(roi, box) for box in found.boxes.tolist()]
            if overlaps and max(overlaps) >= 0.5 and found.classes[int(np.argmax(overlaps))] == c:
                dx, dy, dw, dh = fast_rcnn.delta(roi, found.boxes[int(np.argmax(overlaps))].tolist())
                deltas += [(dx, dy, dw, dh)] + ([(-dx, dy, dw, dh)] if flip else [])
    return np.array(deltas)


def found(*, flip: bool) -> DeltaStatistics:
    return delta_statistics(LABELS, PROPOSALS, foreground_iou=0.5, flip=flip)


@pytest.mark.parametrize("flip", [False, True])
def test_means_and_deviations_equal_the_slow_ones(flip: bool) -> None:
    statistics = found(flip=flip)
    for c in (0, 1):
        deltas = slow(c, flip=flip)
        assert len(deltas) > 2
        np.testing.assert_allclose(statistics.means[c], deltas.mean(axis=0), atol=1e-12)
        np.testing.assert_allclose(statistics.stds[c], deltas.std(axis=0), rtol=1e-9)


def test_a_class_without_a_roi_and_one_whose_deltas_are_equal_are_left_as_they_are() -> None:
    statistics = found(flip=True)
    assert statistics.means[2].tolist() == [0, 0, 0, 0]
    assert statistics.stds[2].tolist() == [1, 1, 1, 1]
    box = np.array([[3, 3, 9, 9]], np.float32)
    same = PseudoLabels(("cat",), "0" * 64, PseudoLabelConfig(), {"im": PseudoBoxes(box, np.array([0]), np.ones(1))})
    assert delta_statistics(same, {"im": box}, foreground_iou=0.5, flip=False).stds.tolist() == [[1, 1, 1, 1]]
