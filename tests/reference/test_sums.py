import pytest
import torch

from sdcn_core.losses.adversarial import mask_adversarial_loss
from sdcn_core.losses.presence import mask_presence_loss
from tests.reference import segmentation_branch
from tests.reference.arithmetic import present
from tests.reference.cases import Case, every_case


def eq_13(case: Case) -> float:
    return segmentation_branch.eq_13_segmentation(
        case.maps,
        case.kept_logits,
        case.erased_logits,
        case.labels,
        lambda_adv=0.7,
        lambda_cls=0.3,
        fraction=0.2,
        eps=1e-6,
        reduction="mean",
    )


@every_case
def test_the_loss_of_all_channels_is_the_sum_over_channels(case: Case) -> None:
    channels = []
    for k, label in enumerate([*case.labels, 1]):
        loss = 0.3 * segmentation_branch.eq_12_presence(segmentation_branch.eq_9_map(case.maps, k), label, 0.2, 1e-6)
        if label == 1:
            row = present(case.labels).index(k)
            loss += 0.7 * segmentation_branch.eq_11_adversarial(
                case.kept_logits[row], case.erased_logits[row], case.labels, k, "mean"
            )
        channels.append(loss)
    assert segmentation_branch.eq_10_segmentation(channels) == pytest.approx(eq_13(case), rel=1e-12)


@every_case
def test_our_two_losses_of_the_maps_add_up_to_the_papers_total(case: Case) -> None:
    labels = torch.from_numpy(case.labels)
    adversarial = mask_adversarial_loss(
        torch.from_numpy(case.kept_logits), torch.from_numpy(case.erased_logits), labels, reduction="mean"
    )
    presence = mask_presence_loss(torch.from_numpy(case.maps), labels, fraction=0.2, eps=1e-6)
    assert (0.7 * adversarial + 0.3 * presence).item() == pytest.approx(eq_13(case), rel=1e-12)
