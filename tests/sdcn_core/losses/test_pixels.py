import pytest
import torch

from sdcn_core.losses.pixels import pixel_label_loss
from sdcn_core.structures.labels import IGNORED
from tests.reference import collaboration
from tests.reference.cases import Case, every_case


@every_case
def test_it_equals_the_papers_equation(case: Case) -> None:
    labels = collaboration.eq_23_psi(case.maps, case.labels, 0.1)
    loss = pixel_label_loss(torch.from_numpy(case.map_logits), torch.from_numpy(labels))
    assert loss.item() == pytest.approx(collaboration.eq_23_pixels(case.map_logits, labels), rel=1e-12)


def test_its_gradient_is_the_numerical_one() -> None:
    logits = torch.randn(3, 2, 2, dtype=torch.double, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    labels = torch.tensor([[0, IGNORED], [2, 1]])
    assert torch.autograd.gradcheck(lambda x: pixel_label_loss(x, labels), logits)


def test_an_ignored_pixel_has_no_gradient() -> None:
    logits = torch.randn(3, 2, 2, requires_grad=True)
    loss = pixel_label_loss(logits, torch.tensor([[0, IGNORED], [IGNORED, 2]]))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.bool().any(dim=0).tolist() == [[True, False], [False, True]]


def test_where_every_pixel_is_ignored_it_is_zero_and_still_reaches_every_logit() -> None:
    logits = torch.randn(3, 2, 2, requires_grad=True)
    loss = pixel_label_loss(logits, torch.full((2, 2), IGNORED))
    assert loss.item() == 0
    assert torch.equal(torch.autograd.grad(loss, logits)[0], torch.zeros(3, 2, 2))
