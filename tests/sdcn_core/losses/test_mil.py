from typing import Literal

import numpy as np
import pytest
import torch

from sdcn_core.losses.mil import mil_loss
from tests.reference.cases import Case, every_case
from tests.reference.detection_branch import eq_3_mil


@every_case
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_it_equals_the_papers_equation(case: Case, reduction: Literal["mean", "sum"]) -> None:
    loss = mil_loss(torch.from_numpy(case.midn), torch.from_numpy(case.labels), eps=1e-6, reduction=reduction)
    assert loss.item() == pytest.approx(eq_3_mil(case.midn, case.labels, 1e-6, reduction), rel=1e-12)


def test_its_gradient_is_the_numerical_one() -> None:
    scores = torch.rand(5, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0)) / 6
    labels = torch.tensor([1.0, 0.0, 1.0], dtype=torch.double)
    assert torch.autograd.gradcheck(
        lambda s: mil_loss(s, labels, eps=1e-6, reduction="mean"), scores.requires_grad_(True)
    )


def test_a_sum_of_scores_that_rounding_pushed_past_one_stays_finite_in_single_precision() -> None:
    scores = torch.tensor([[0.5, 0.5], [0.5000001, 0.5000001]], requires_grad=True)
    loss = mil_loss(scores, torch.tensor([1.0, 0.0]), eps=1e-6, reduction="sum")
    assert loss.item() == pytest.approx(-np.log(1e-6), rel=0.02)  # 1 - 1e-6 has few bits left in float32
    assert torch.isfinite(torch.autograd.grad(loss, scores)[0]).all()
