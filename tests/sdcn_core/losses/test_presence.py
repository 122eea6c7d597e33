import math

import pytest
import torch

from sdcn_core.losses.presence import mask_presence_loss
from tests.reference.cases import Case, every_case
from tests.reference.segmentation_branch import eq_9_map, eq_12_presence


@every_case
@pytest.mark.parametrize("fraction", [0.2, 0.01, 1.0])
def test_it_is_the_papers_equation_summed_over_all_maps(case: Case, fraction: float) -> None:
    loss = mask_presence_loss(torch.from_numpy(case.maps), torch.from_numpy(case.labels), fraction=fraction, eps=1e-6)
    terms = [eq_12_presence(eq_9_map(case.maps, k), label, fraction, 1e-6) for k, label in enumerate([*case.labels, 1])]
    assert loss.item() == pytest.approx(sum(terms), rel=1e-12)


def test_its_gradient_is_the_numerical_one() -> None:
    maps = (torch.randperm(24, generator=torch.Generator().manual_seed(0)).double() + 1).view(2, 3, 4) / 26  # no ties
    labels = torch.ones(1, dtype=torch.double)
    assert torch.autograd.gradcheck(
        lambda m: mask_presence_loss(m, labels, fraction=0.2, eps=1e-6), maps.requires_grad_(True)
    )


def test_the_gradient_reaches_the_strongest_pixels_and_no_other() -> None:
    maps = torch.linspace(0.1, 0.9, 20).view(2, 2, 5).requires_grad_(True)
    (gradient,) = torch.autograd.grad(mask_presence_loss(maps, torch.tensor([1.0]), fraction=0.2, eps=1e-6), maps)
    assert gradient.flatten(1).nonzero().tolist() == [[0, 8], [0, 9], [1, 8], [1, 9]]


def test_a_map_that_is_wrong_everywhere_costs_what_the_margin_allows() -> None:
    maps = torch.stack([torch.zeros(2, 2), torch.ones(2, 2), torch.zeros(2, 2)])
    loss = mask_presence_loss(maps, torch.tensor([1.0, 0.0]), fraction=0.2, eps=1e-3)
    assert loss.item() == pytest.approx(-3 * math.log(1e-3), rel=1e-3)  # each as wrong as it can be
