"""The objective with what others have found since, against the twins; off, it is the paper's (test_total_loss.py)."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import pytest
import torch

from sdcn_core.config.loss_names import LossName
from sdcn_core.config.objective import ObjectiveConfig, RefinementNormalizer
from sdcn_core.objective import Losses, SDCNObjective
from sdcn_core.structures.outputs import DetectionOutput
from tests.reference import detection_branch as paper
from tests.reference.arithmetic import Array
from tests.reference.beyond_the_paper import mist_regression, seed_of_each, ts2c_prior
from tests.reference.cases import Case, every_case
from tests.reference.collaboration import eq_16_reweighted


def deltas_of(case: Case) -> list[Array]:
    """Of each refinement, (B, N, 4) in units."""
    return list(np.random.default_rng(0).normal(size=(3, len(case.boxes), len(case.labels), 4)) * 2)


def losses_of(case: Case, config: ObjectiveConfig, deltas: Sequence[Array] = ()) -> Losses:
    return SDCNObjective(config, collaborate=True)(
        DetectionOutput(
            midn_scores=torch.from_numpy(case.midn),
            refinement_logits=tuple(torch.from_numpy(logits) for logits in case.refinement_logits),
            refinement_deltas=tuple(torch.from_numpy(moves) for moves in deltas),
        ),
        torch.from_numpy(case.map_logits),
        torch.from_numpy(case.boxes),
        torch.from_numpy(case.cells),
        torch.from_numpy(case.labels),
        generator=torch.Generator().manual_seed(0),
    )


def refinement_losses(case: Case, teacher: Array, *, ignored_below_iou: float) -> list[float]:
    losses = []
    for logits in case.refinement_logits:
        chosen, weights = paper.eq_4_kappa(teacher, case.boxes, case.labels, 0.5, ignored_below_iou)
        losses.append(paper.eq_6_refinement(logits, chosen, weights, "valid_count"))
        teacher = paper.eq_5_refinement(logits)[:, :-1]
    return losses


@every_case
def test_pcls_ignored_proposals_and_weight_of_the_first_refinement(case: Case) -> None:
    config = ObjectiveConfig(segmentation_instructs_detection=False, ignored_below_iou=0.1, first_refinement_weight=3)
    first, second, third = refinement_losses(case, case.midn, ignored_below_iou=0.1)
    assert losses_of(case, config)[LossName.REF].item() == pytest.approx(3 * first + second + third, rel=1e-12)


@every_case
def test_ts2cs_objectness_stands_in_for_the_overlap_with_regions(case: Case) -> None:
    config = ObjectiveConfig(segmentation_prior="ts2c", tau_0=0.3, surrounding_scale=1.5)
    prior = ts2c_prior(case.maps, case.cells.tolist(), case.labels, 0.3, 1.5)
    reweighted = eq_16_reweighted(case.midn, prior)
    losses = losses_of(case, config)
    expected = paper.eq_3_mil(reweighted, case.labels, config.probability_eps, "mean")
    assert losses[LossName.MIL].item() == pytest.approx(expected, rel=1e-6)  # the prior is float32
    refinements = refinement_losses(case, reweighted, ignored_below_iou=0)
    assert losses[LossName.REF].item() == pytest.approx(sum(refinements), rel=1e-6)


@every_case
@pytest.mark.parametrize("normalizer", get_args(RefinementNormalizer))
def test_mists_regression_moves_foreground_onto_the_seeds_of_each_refinement(
    case: Case, normalizer: RefinementNormalizer
) -> None:
    config = ObjectiveConfig(
        segmentation_instructs_detection=False,
        first_refinement_weight=3,
        ignored_below_iou=0.1,
        refinement_normalizer=normalizer,
    )
    expected = []
    teacher = case.midn
    for logits, deltas in zip(case.refinement_logits, deltas_of(case), strict=True):
        chosen, weights = paper.eq_4_kappa(teacher, case.boxes, case.labels, 0.5, 0.1)
        seeds = seed_of_each(teacher, case.boxes, case.labels) if case.labels.any() else []
        expected.append(mist_regression(deltas, case.boxes, seeds, chosen.tolist(), weights.tolist(), normalizer))
        teacher = paper.eq_5_refinement(logits)[:, :-1]
    expected[0] *= 3
    losses = losses_of(case, config, deltas_of(case))
    assert losses[LossName.BOX].item() == pytest.approx(sum(expected), rel=1e-12)
    assert losses[LossName.REF] == losses_of(case, config)[LossName.REF]


@every_case
def test_without_box_regression_there_is_no_such_loss(case: Case) -> None:
    assert LossName.BOX not in losses_of(case, ObjectiveConfig())
