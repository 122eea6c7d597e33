from typing import Literal

import pytest
import torch
from torch import Tensor

from sdcn_core.losses.adversarial import classifier_loss, mask_adversarial_loss
from tests.reference.arithmetic import present
from tests.reference.cases import Case, every_case
from tests.reference.segmentation_branch import eq_11_adversarial, eq_14_classifier, eq_15_classifier

LABELS = torch.tensor([0.0, 1.0, 1.0], dtype=torch.double)


def logits(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(0)).requires_grad_(True)


@every_case
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_maps_loss_is_the_papers_equation_summed_over_the_present_classes(
    case: Case, reduction: Literal["mean", "sum"]
) -> None:
    loss = mask_adversarial_loss(
        torch.from_numpy(case.kept_logits),
        torch.from_numpy(case.erased_logits),
        torch.from_numpy(case.labels),
        reduction=reduction,
    )
    terms = [
        eq_11_adversarial(case.kept_logits[row], case.erased_logits[row], case.labels, k, reduction)
        for row, k in enumerate(present(case.labels))
    ]
    assert loss.item() == pytest.approx(sum(terms), rel=1e-12)


@every_case
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_classifiers_loss_is_the_papers_equation(case: Case, reduction: Literal["mean", "sum"]) -> None:
    loss = classifier_loss(
        torch.from_numpy(case.whole_logits),
        torch.from_numpy(case.erased_logits),
        torch.from_numpy(case.labels),
        reduction=reduction,
    )
    assert loss.item() == pytest.approx(
        eq_15_classifier(case.whole_logits, case.erased_logits, case.labels, reduction), rel=1e-12
    )


def test_a_row_less_takes_exactly_its_term_from_the_classifiers_loss() -> None:
    whole, erased = logits(3), logits(3, 3)
    with_background, without = (
        classifier_loss(whole, rows, LABELS, reduction="sum").item() for rows in (erased, erased[:-1])
    )
    term = eq_14_classifier(erased[-1].tolist(), LABELS.tolist(), "sum")
    assert with_background - without == pytest.approx(term)


def test_without_masks_the_classifier_learns_the_whole_image_alone() -> None:
    whole = logits(3)
    loss = classifier_loss(whole, torch.empty(0, 3, dtype=torch.double), LABELS, reduction="mean")
    assert loss.item() == pytest.approx(torch.nn.functional.binary_cross_entropy_with_logits(whole, LABELS).item())


def test_perfect_maps_cost_nothing() -> None:
    sure = 40.0
    kept = torch.tensor([[-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0], [-1.0, -1.0, -1.0]]) * sure
    erased = torch.tensor([[-1.0, -1.0, 1.0], [-1.0, 1.0, -1.0], [-1.0, 1.0, 1.0]]) * sure
    assert mask_adversarial_loss(kept, erased, LABELS.float(), reduction="sum").item() < 1e-12


def test_the_maps_gradient_is_the_numerical_one() -> None:
    assert torch.autograd.gradcheck(
        lambda kept, erased: mask_adversarial_loss(kept, erased, LABELS, reduction="mean"), (logits(3, 3), logits(3, 3))
    )


def test_the_classifiers_gradient_is_the_numerical_one() -> None:
    assert torch.autograd.gradcheck(
        lambda whole, erased: classifier_loss(whole, erased, LABELS, reduction="sum"), (logits(3), logits(3, 3))
    )
