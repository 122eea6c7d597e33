from typing import get_args

import pytest
import torch
from torch import Tensor

from sdcn_core.config.objective import RefinementNormalizer
from sdcn_core.losses.refinement import refinement_loss
from tests.reference.cases import Case, every_case
from tests.reference.detection_branch import eq_4_kappa, eq_6_refinement

every_normalizer = pytest.mark.parametrize("normalizer", get_args(RefinementNormalizer))


@every_case
@every_normalizer
def test_it_equals_the_papers_equation(case: Case, normalizer: RefinementNormalizer) -> None:
    labels, weights = eq_4_kappa(case.midn, case.boxes, case.labels, 0.5)
    for logits in case.refinement_logits:
        loss = refinement_loss(
            torch.from_numpy(logits), torch.from_numpy(labels), torch.from_numpy(weights), normalizer=normalizer
        )
        assert loss.item() == pytest.approx(eq_6_refinement(logits, labels, weights, normalizer), rel=1e-12)


@every_normalizer
def test_its_gradient_is_the_numerical_one(normalizer: RefinementNormalizer) -> None:
    logits = torch.randn(4, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    labels, weights = torch.tensor([0, 2, 1, 2]), torch.tensor([0.5, 0.1, 0.0, 0.9], dtype=torch.double)

    def loss(logits: Tensor) -> Tensor:
        return refinement_loss(logits, labels, weights, normalizer=normalizer)

    assert torch.autograd.gradcheck(loss, logits)


@every_normalizer
def test_without_a_weight_it_is_zero_and_still_reaches_every_logit(
    normalizer: RefinementNormalizer,
) -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    loss = refinement_loss(logits, torch.full((4,), 2), torch.zeros(4), normalizer=normalizer)
    assert loss.item() == 0
    assert torch.equal(torch.autograd.grad(loss, logits)[0], torch.zeros(4, 3))


def test_proposals_without_weight_do_not_dilute_the_count() -> None:
    logits, labels = torch.randn(2, 3), torch.tensor([0, 1])
    alone = refinement_loss(logits[:1], labels[:1], torch.tensor([0.3]), normalizer="valid_count")
    both = refinement_loss(logits, labels, torch.tensor([0.3, 1e-13]), normalizer="valid_count")
    assert both.item() == pytest.approx(alone.item())


def test_by_all_proposals_those_without_weight_dilute_the_loss() -> None:
    logits, labels = torch.randn(2, 3), torch.tensor([0, 1])
    alone = refinement_loss(logits[:1], labels[:1], torch.tensor([0.3]), normalizer="proposal_count")
    both = refinement_loss(logits, labels, torch.tensor([0.3, 0.0]), normalizer="proposal_count")
    assert both.item() == pytest.approx(alone.item() / 2)


def test_small_weights_give_a_small_loss_by_count_and_not_by_sum() -> None:
    logits, labels, weights = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2]), torch.rand(6)
    by_count = [refinement_loss(logits, labels, w, normalizer="valid_count") for w in (weights, weights / 1000)]
    by_sum = [refinement_loss(logits, labels, w, normalizer="weight_sum") for w in (weights, weights / 1000)]
    assert by_count[1].item() == pytest.approx(by_count[0].item() / 1000, rel=1e-5)
    assert by_sum[1].item() == pytest.approx(by_sum[0].item(), rel=1e-5)
