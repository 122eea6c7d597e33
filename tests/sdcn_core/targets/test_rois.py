from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from sdcn_core.targets.rois import RoiTargets, assign_rois
from tests.reference import fast_rcnn
from tests.reference.cases import Case, every_case

C = 3


def assigned(rois: Tensor, boxes: Tensor, classes: Sequence[int], **changes: object) -> RoiTargets:
    settings = {
        "num_classes": C,
        "foreground_iou": 0.5,
        "background_iou": (0.1, 0.5),
        "rois_per_image": 1000,
        "foreground_fraction": 0.25,
        "generator": torch.Generator().manual_seed(0),
    }
    return assign_rois(rois, boxes, torch.tensor(classes, dtype=torch.int64), **settings | changes)  # type: ignore[arg-type]


@every_case
def test_targets_equal_the_slow_ones(case: Case) -> None:
    rois = torch.from_numpy(case.boxes).double()
    boxes, classes = rois[:2].flip(0), list(range(len(rois[:2])))
    targets = assigned(rois, boxes, classes)
    found = {
        row: (label, delta)
        for row, label, delta in zip(
            targets.rows.tolist(), targets.labels.tolist(), targets.deltas.tolist(), strict=True
        )
    }
    for row, roi in enumerate(rois.tolist()):
        expected = fast_rcnn.roi_of(
            roi, boxes.tolist(), classes, num_classes=C, foreground_iou=0.5, background_iou=(0.1, 0.5)
        )
        assert (row in found) == (expected is not None)
        if expected is not None:
            assert found[row][0] == expected[0]
            np.testing.assert_allclose(found[row][1], expected[1] or (0, 0, 0, 0), atol=1e-12)


BOX = torch.tensor([[0.0, 0, 10, 10]])


@pytest.mark.parametrize(
    ("roi", "label"),
    [
        ([0, 0, 10, 5], 1),  # exactly a half is foreground
        ([0, 0, 10, 4.9], C),
        ([0, 0, 10, 1], C),  # exactly a tenth is background
        ([0, 0, 10, 0.9], None),
        ([20, 20, 30, 30], None),
    ],
)
def test_the_ends_of_both_ranges(roi: list[float], label: int | None) -> None:
    targets = assigned(torch.tensor([roi], dtype=torch.float32), BOX, [1])
    assert targets.labels.tolist() == ([] if label is None else [label])


def test_a_roi_that_two_boxes_share_belongs_to_the_first() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10]])
    assert assigned(BOX, boxes, [2, 0]).labels.tolist() == [2]


def test_without_a_box_no_roi_takes_part() -> None:
    targets = assigned(BOX, torch.zeros(0, 4), [])
    assert (targets.rows.tolist(), targets.labels.tolist(), targets.deltas.shape) == ([], [], (0, 4))


def test_of_too_many_foreground_rois_some_are_drawn_and_the_rest_of_the_step_is_background() -> None:
    rois = torch.cat([BOX.repeat(20, 1), torch.tensor([[0.0, 0, 10, 3]]).repeat(20, 1)])
    limits = {"rois_per_image": 12, "foreground_fraction": 0.25}
    targets = assigned(rois, BOX, [1], **limits)
    assert (targets.rows < 20).sum() == (targets.labels == 1).sum() == 3
    assert (targets.rows >= 20).sum() == 9
    again = assigned(rois, BOX, [1], **limits)
    other = assigned(rois, BOX, [1], generator=torch.Generator().manual_seed(1), **limits)
    assert torch.equal(targets.rows, again.rows)
    assert not torch.equal(targets.rows, other.rows)


def test_targets_carry_no_gradient() -> None:
    rois = BOX.clone().requires_grad_()
    assert not assigned(rois, BOX, [1]).deltas.requires_grad
