import numpy as np
import pytest
import torch

from sdcn_core.structures.boxes import box_area, box_iou, boxes_to_cells, clip_boxes, flip_boxes
from tests.reference import arithmetic
from tests.reference.cases import STRIDE, Case, every_case


@every_case
def test_overlaps_equal_the_slow_ones(case: Case) -> None:
    boxes = torch.from_numpy(case.boxes)
    expected = [[arithmetic.box_iou(box, other) for other in case.boxes] for box in case.boxes]
    np.testing.assert_array_equal(box_iou(boxes, boxes), expected)


def test_a_box_of_no_area_overlaps_nothing_not_even_itself() -> None:
    boxes = torch.tensor([[1.0, 1, 1, 5], [0, 0, 9, 9]])
    assert box_iou(boxes[:1], boxes).tolist() == [[0, 0]]


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert box_iou(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[2.0, 0, 4, 2]])).item() == 0


def test_flipping_twice_gives_the_box_back_and_keeps_its_area() -> None:
    boxes = torch.tensor([[0.0, 1, 4, 6], [7, 0, 10, 3]])
    flipped = flip_boxes(boxes, 10)
    assert flipped.tolist() == [[6, 1, 10, 6], [0, 0, 3, 3]]
    assert torch.equal(flip_boxes(flipped, 10), boxes)
    assert torch.equal(box_area(flipped), box_area(boxes))


def test_a_box_outside_the_image_is_cut_to_no_area() -> None:
    clipped = clip_boxes(torch.tensor([[-3.0, -2, 4, 5], [12, 12, 20, 20]]), 8, 10)
    assert clipped[0].tolist() == [0, 0, 4, 5]
    assert box_area(clipped).tolist() == [20, 0]


@every_case
def test_cells_are_rounded_as_by_hand(case: Case) -> None:
    cells = boxes_to_cells(torch.from_numpy(case.boxes), STRIDE, case.height, case.width)
    np.testing.assert_array_equal(cells, case.cells)


@pytest.mark.parametrize(
    ("box", "cells"),
    [
        ([0, 0, 16, 16], [0, 0, 3, 3]),  # the last pixel, 15, is nearer to cell 2
        ([0, 0, 12, 12], [0, 0, 2, 2]),
        ([4, 3, 5, 4], [1, 0, 2, 1]),  # a half goes up
        ([60, 60, 64, 64], [7, 7, 8, 8]),  # would be cell 8 of a grid of 8
    ],
)
def test_first_and_last_cell_are_rounded_and_both_included(box: list[float], cells: list[int]) -> None:
    assert boxes_to_cells(torch.tensor([box], dtype=torch.float32), 8, 8, 8).tolist() == [cells]
