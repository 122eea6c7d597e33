"""The assembled objective against the whole chain of twins, from scores and logits to eq. (25)."""

import numpy as np
import pytest
import torch
from torch import Tensor

from sdcn_core.config.loss_names import LossName
from sdcn_core.config.objective import ObjectiveConfig
from sdcn_core.objective import SDCNObjective
from sdcn_core.structures.outputs import DetectionOutput
from tests.reference import collaboration, detection_branch, segmentation_branch
from tests.reference.arithmetic import Array
from tests.reference.cases import Case, every_case

CONFIG = ObjectiveConfig(
    lambda_adv=0.9,
    lambda_cls=0.2,
    lambda_seg=0.3,
    lambda_mil=0.8,
    lambda_ref=0.7,
    pixel_fraction=1,  # every pixel is kept, so that no lot decides
)


class Image:
    """A case as tensors that want gradients, and the objective's terms on it."""

    def __init__(self, case: Case, *, collaborate: bool) -> None:
        self.labels = torch.from_numpy(case.labels)
        self.midn = torch.from_numpy(case.midn).requires_grad_()
        self.refinements = tuple(torch.from_numpy(logits).requires_grad_() for logits in case.refinement_logits)
        self.map_logits = torch.from_numpy(case.map_logits).requires_grad_()
        self.objective = SDCNObjective(CONFIG, collaborate=collaborate)
        self.losses = self.objective(
            DetectionOutput(midn_scores=self.midn, refinement_logits=self.refinements),
            self.map_logits,
            torch.from_numpy(case.boxes),
            torch.from_numpy(case.cells),
            self.labels,
            generator=torch.Generator().manual_seed(0),
        )
        self.losses[LossName.ADV] = self.objective.segmentation.adversarial(
            torch.from_numpy(case.kept_logits), torch.from_numpy(case.erased_logits), self.labels
        )

    def total(self) -> Tensor:
        return torch.stack(list(self.objective.weighted(self.losses).values())).sum()


def refinement_losses(case: Case, first_teacher: Array) -> list[float]:
    """One loss a refinement: the given scores teach the first, each refinement the next (appendix A)."""
    losses, teacher = [], first_teacher
    for logits in case.refinement_logits:
        chosen, weights = detection_branch.eq_4_kappa(teacher, case.boxes, case.labels, CONFIG.foreground_iou)
        losses.append(detection_branch.eq_6_refinement(logits, chosen, weights, CONFIG.refinement_normalizer))
        teacher = detection_branch.eq_5_refinement(logits)[:, :-1]
    return losses


def mil_loss(scores: Array, case: Case) -> float:
    return detection_branch.eq_3_mil(scores, case.labels, CONFIG.probability_eps, CONFIG.mil_reduction)


def segmentation_loss(case: Case) -> float:
    return segmentation_branch.eq_13_segmentation(
        case.maps,
        case.kept_logits,
        case.erased_logits,
        case.labels,
        lambda_adv=CONFIG.lambda_adv,
        lambda_cls=CONFIG.lambda_cls,
        fraction=CONFIG.presence_fraction,
        eps=CONFIG.probability_eps,
        reduction=CONFIG.adversarial_reduction,
    )


def instructive_loss(case: Case) -> float:
    detection = detection_branch.eq_1_detection(
        [detection_branch.eq_5_refinement(logits) for logits in case.refinement_logits]
    )
    heat = collaboration.eq_21_heatmap(detection[:, :-1], case.cells.tolist(), case.labels, case.height, case.width)
    heatmaps = np.concatenate([heat, collaboration.eq_22_background(heat)[None]])
    chosen = collaboration.eq_23_psi(heatmaps, case.labels, CONFIG.pixel_fraction)
    return collaboration.eq_23_pixels(case.map_logits, chosen)


@every_case
def test_apart_the_total_is_both_branches_own_losses(case: Case) -> None:
    detection = detection_branch.eq_7_detection(
        mil_loss(case.midn, case), refinement_losses(case, case.midn), CONFIG.lambda_mil, CONFIG.lambda_ref
    )
    expected = collaboration.eq_25_total(segmentation_loss(case), detection)
    assert Image(case, collaborate=False).total().item() == pytest.approx(expected, rel=1e-9)


@every_case
def test_in_the_loop_the_total_is_the_papers_overall_objective(case: Case) -> None:
    masks = collaboration.masks_of(case.maps, case.labels, CONFIG.binarization, CONFIG.binarization_threshold)
    prior = collaboration.eq_17_prior(masks, case.cells.tolist(), CONFIG.tau_0)
    reweighted = collaboration.eq_16_reweighted(case.midn, prior)
    detection = collaboration.eq_20_detection(
        mil_loss(reweighted, case), refinement_losses(case, reweighted), CONFIG.lambda_mil, CONFIG.lambda_ref
    )
    segmentation = collaboration.eq_24_segmentation(segmentation_loss(case), instructive_loss(case), CONFIG.lambda_seg)
    expected = collaboration.eq_25_total(segmentation, detection)
    assert Image(case, collaborate=True).total().item() == pytest.approx(expected, rel=1e-6)  # the prior is float32


@every_case
@pytest.mark.parametrize("with_background", [True, False])
def test_the_classifiers_objective_is_the_papers(case: Case, with_background: bool) -> None:
    config = ObjectiveConfig(classifier_sees_background_erased=with_background)
    loss = SDCNObjective(config, collaborate=True).segmentation.classifier(
        *(torch.from_numpy(values) for values in (case.whole_logits, case.erased_logits, case.labels))
    )
    rows = case.erased_logits if with_background else case.erased_logits[:-1]
    expected = segmentation_branch.eq_15_classifier(case.whole_logits, rows, case.labels, config.classifier_reduction)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def untouched(loss: Tensor, inputs: tuple[Tensor, ...]) -> bool:
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(loss, inputs, allow_unused=True, retain_graph=True)
    return all(gradient is None for gradient in gradients)


@every_case
def test_neither_branch_gets_a_gradient_from_what_it_teaches_the_other(case: Case) -> None:
    image = Image(case, collaborate=True)
    assert untouched(image.losses[LossName.MIL] + image.losses[LossName.REF], (image.map_logits,))
    assert untouched(image.losses[LossName.CLS] + image.losses[LossName.SEG], (image.midn, *image.refinements))


@every_case
def test_no_scores_get_a_gradient_from_the_labels_they_teach(case: Case) -> None:
    image = Image(case, collaborate=True)
    assert untouched(image.losses[LossName.REF], (image.midn,))
    assert untouched(image.losses[LossName.MIL], image.refinements)
