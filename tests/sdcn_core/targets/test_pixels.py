import numpy as np
import pytest
import torch
from torch import Tensor

from sdcn_core.targets.pixels import IGNORED, mine_pixels
from tests.reference import collaboration
from tests.reference.cases import Case, every_case


def mined(heatmaps: Tensor, labels: Tensor, fraction: float = 0.1, seed: int = 0) -> Tensor:
    return mine_pixels(heatmaps, labels, fraction=fraction, generator=torch.Generator().manual_seed(seed))


@every_case
@pytest.mark.parametrize("fraction", [0.1, 0.5, 1.0])
def test_the_labels_are_the_papers_where_no_two_pixels_are_equally_hot(case: Case, fraction: float) -> None:
    found = mined(torch.from_numpy(case.maps), torch.from_numpy(case.labels), fraction)
    np.testing.assert_array_equal(found.numpy(), collaboration.eq_23_psi(case.maps, case.labels, fraction))


@every_case
def test_on_a_real_heatmap_each_class_keeps_as_many_and_as_hot_pixels_as_in_the_paper(case: Case) -> None:
    heat = collaboration.eq_21_heatmap(case.midn, case.cells.tolist(), case.labels, case.height, case.width)
    heatmaps = np.concatenate([heat, collaboration.eq_22_background(heat)[None]])
    found = mined(torch.from_numpy(heatmaps), torch.from_numpy(case.labels)).numpy()
    expected = collaboration.eq_23_psi(heatmaps, case.labels, 0.1)
    for k in range(len(heatmaps)):
        np.testing.assert_array_equal(np.sort(heatmaps[k][found == k]), np.sort(heatmaps[k][expected == k]))


def test_each_class_keeps_a_share_of_its_own_pixels_and_at_least_one() -> None:
    heatmaps = torch.stack([torch.zeros(4, 5), torch.ones(4, 5)])
    heatmaps[:, 0, :3] = torch.tensor([[0.7, 0.9, 0.8], [0.1, 0.1, 0.1]])
    found = mined(heatmaps, torch.ones(1))
    assert (found == 0).nonzero().tolist() == [[0, 1]]
    assert (found == 1).sum() == 2  # 10% of 17
    assert (found == IGNORED).sum() == 17


def test_equally_hot_background_is_drawn_by_lot() -> None:
    heatmaps = torch.stack([torch.zeros(10, 10), torch.ones(10, 10)])
    draws = [mined(heatmaps, torch.ones(1), seed=seed) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert [int((draw == 1).sum()) for draw in draws] == [10, 10, 10]


def test_where_class_and_background_are_equally_hot_the_class_wins() -> None:
    assert mined(torch.full((2, 1, 1), 0.5), torch.ones(1)).item() == 0


def test_an_absent_class_labels_no_pixel_however_hot_its_channel() -> None:
    heatmaps = torch.stack([torch.full((3, 3), 0.4), torch.ones(3, 3), torch.full((3, 3), 0.2)])
    found = mined(heatmaps, torch.tensor([1.0, 0.0]), fraction=1.0)
    assert torch.equal(found, torch.zeros(3, 3, dtype=torch.int64))


def test_a_present_class_that_is_hottest_nowhere_labels_no_pixel() -> None:
    heatmaps = torch.stack([torch.zeros(3, 3), torch.ones(3, 3)])
    assert (mined(heatmaps, torch.ones(1), fraction=1.0) == 1).all()
