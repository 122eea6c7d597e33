import numpy as np
import pytest
import torch
from torch import Tensor

from sdcn_core.structures.regions import connected_components, region_box_iou, region_boxes
from tests.reference.arithmetic import Cells, box_around, cells_in, region_iou, regions_of


def random_mask(seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random((9, 11)) < 0.35)


def cells_of(regions: Tensor) -> list[Cells]:
    return [{(p, q) for p, q in region.nonzero().tolist()} for region in regions]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("min_cells", [1, 4])
def test_the_regions_are_those_that_flooding_finds(seed: int, min_cells: int) -> None:
    mask = random_mask(seed)
    assert cells_of(connected_components(mask, min_cells=min_cells)) == regions_of(mask.numpy(), min_cells)


def test_cells_that_touch_at_a_corner_are_one_region() -> None:
    assert len(connected_components(torch.eye(3, dtype=torch.bool), min_cells=1)) == 1


@pytest.mark.parametrize(("fill", "count"), [(False, 0), (True, 1)])
def test_an_empty_mask_has_no_region_and_a_full_one_has_one(fill: bool, count: int) -> None:
    regions = connected_components(torch.full((3, 4), fill), min_cells=1)
    assert regions.shape == (count, 3, 4)


@pytest.mark.parametrize("seed", range(10))
def test_overlaps_are_those_of_sets_of_cells(seed: int) -> None:
    random = np.random.default_rng(seed)
    regions = connected_components(random_mask(seed), min_cells=1)
    x1, y1 = random.integers(0, 11, 20), random.integers(0, 9, 20)
    boxes = np.stack([x1, y1, random.integers(x1 + 1, 12), random.integers(y1 + 1, 10)], axis=1)
    expected = [[region_iou(region, cells_in(box)) for box in boxes.tolist()] for region in cells_of(regions)]
    np.testing.assert_allclose(region_box_iou(regions, torch.from_numpy(boxes)), expected, rtol=1e-6)


def test_no_regions_have_no_overlaps() -> None:
    overlaps = region_box_iou(torch.zeros(0, 3, 3, dtype=torch.bool), torch.tensor([[0, 0, 1, 1]]))
    assert overlaps.shape == (0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_the_box_around_a_region_is_tight(seed: int) -> None:
    regions = connected_components(random_mask(seed), min_cells=1)
    assert [tuple(box) for box in region_boxes(regions).tolist()] == [box_around(r) for r in cells_of(regions)]
