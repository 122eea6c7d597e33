import numpy as np
import pytest
import torch
from torch import Tensor

from sdcn_core.collaboration.objectness_prior import objectness_prior
from tests.reference.beyond_the_paper import ts2c_prior
from tests.reference.cases import Case, every_case


def prior_of(maps: Tensor, cells: list[list[int]], labels: list[float], scale: float = 1.2) -> list[list[float]]:
    prior = objectness_prior(
        maps, torch.tensor(cells), torch.tensor(labels), tau_0=0.5, surrounding_scale=scale
    )  # (N, C)
    return prior.T.tolist()


def map_of(*boxes: list[int], height: int = 10, width: int = 10) -> Tensor:
    """Maps (2, h, w) of one class and background: the class has these boxes."""
    own = torch.zeros(height, width)
    for x1, y1, x2, y2 in boxes:
        own[y1:y2, x1:x2] = 1
    return torch.stack([own, 1 - own])


@every_case
@pytest.mark.parametrize("scale", [1.2, 2.0])
def test_it_equals_the_slow_one(case: Case, scale: float) -> None:
    prior = objectness_prior(
        *map(torch.from_numpy, (case.maps, case.cells, case.labels)), tau_0=0.5, surrounding_scale=scale
    )
    np.testing.assert_allclose(prior, ts2c_prior(case.maps, case.cells.tolist(), case.labels, 0.5, scale), rtol=1e-6)


def test_a_tight_box_is_better_than_one_on_a_part_or_far_too_large() -> None:
    tight, part, large = prior_of(map_of([3, 3, 8, 8]), [[3, 3, 8, 8], [4, 4, 7, 7], [1, 1, 10, 10]], [1.0])[0]
    assert tight == 1
    assert part == pytest.approx(0.5 / 1.5)  # nothing but object around it
    assert part < large < tight


def test_a_box_with_more_of_the_class_around_it_than_in_it_is_worth_tau_alone() -> None:
    inside, beside = prior_of(map_of([4, 4, 6, 6]), [[4, 4, 6, 6], [2, 4, 4, 6]], [1.0])[0]
    assert (inside, beside) == (1, pytest.approx(0.5 / 1.5))


def test_around_a_box_that_holds_the_whole_grid_is_nothing() -> None:
    assert prior_of(map_of([0, 0, 10, 10]), [[0, 0, 10, 10], [0, 0, 5, 10]], [1.0]) == [[1, pytest.approx(0.5 / 1.5)]]


def test_an_absent_class_has_no_opinion() -> None:
    assert prior_of(map_of([3, 3, 8, 8]), [[3, 3, 8, 8], [0, 0, 2, 2]], [0.0]) == [[1, 1]]


def test_a_map_without_contrast_has_no_opinion() -> None:
    assert prior_of(torch.full((2, 6, 6), 0.5), [[1, 1, 3, 3], [0, 0, 2, 4]], [1.0]) == [[1, 1]]


def test_the_prior_is_a_constant() -> None:
    maps = map_of([3, 3, 8, 8]).requires_grad_()
    prior = objectness_prior(maps, torch.tensor([[3, 3, 8, 8]]), torch.tensor([1.0]), tau_0=0.5, surrounding_scale=1.2)
    assert not prior.requires_grad


def test_tau_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="tau_0 must be > 0"):
        objectness_prior(map_of(), torch.tensor([[3, 3, 8, 8]]), torch.tensor([1.0]), tau_0=0, surrounding_scale=1.2)
