from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from sdcn_core.collaboration.segmentation_prior import apply_segmentation_prior, binarize_maps, segmentation_prior
from sdcn_core.losses.mil import mil_loss
from sdcn_core.losses.refinement import refinement_loss
from sdcn_core.targets.instances import mine_instances
from tests.reference import collaboration
from tests.reference.cases import Case, every_case

Overlap = Literal["region", "bbox"]


def prior_of(
    masks: Tensor, cells: Tensor, tau_0: float = 0.5, overlap: Overlap = "region", min_cells: int = 1
) -> Tensor:
    return segmentation_prior(masks, cells, tau_0=tau_0, region_overlap=overlap, min_region_cells=min_cells)


def prior_of_case(case: Case) -> Tensor:
    masks = binarize_maps(
        torch.from_numpy(case.maps), torch.from_numpy(case.labels), binarization="argmax", threshold=0.5
    )
    return prior_of(masks, torch.from_numpy(case.cells))


@every_case
@pytest.mark.parametrize("binarization", ["argmax", "relative"])
def test_masks_equal_the_slow_ones(case: Case, binarization: Literal["argmax", "relative"]) -> None:
    masks = binarize_maps(
        torch.from_numpy(case.maps), torch.from_numpy(case.labels), binarization=binarization, threshold=0.5
    )
    np.testing.assert_array_equal(masks, collaboration.masks_of(case.maps, case.labels, binarization, 0.5))


@every_case
@pytest.mark.parametrize("overlap", ["region", "bbox"])
@pytest.mark.parametrize("min_cells", [1, 3])
def test_the_prior_equals_the_papers_equation(case: Case, overlap: Overlap, min_cells: int) -> None:
    masks = collaboration.masks_of(case.maps, case.labels, "argmax", 0.5)
    prior = prior_of(torch.from_numpy(masks), torch.from_numpy(case.cells), 0.5, overlap, min_cells)
    expected = collaboration.eq_17_prior(masks, case.cells.tolist(), 0.5, overlap, min_cells)
    np.testing.assert_allclose(prior, expected, rtol=1e-6)


@every_case
def test_reweighted_scores_are_the_product(case: Case) -> None:
    prior = prior_of_case(case)
    expected = collaboration.eq_16_reweighted(case.midn, prior.double().numpy())
    np.testing.assert_array_equal(apply_segmentation_prior(torch.from_numpy(case.midn), prior), expected)


@every_case
def test_reweighted_scores_give_the_papers_two_losses(case: Case) -> None:
    prior, labels = prior_of_case(case), torch.from_numpy(case.labels)
    scores = apply_segmentation_prior(torch.from_numpy(case.midn), prior)
    mil = mil_loss(scores, labels, eps=1e-6, reduction="mean")
    assert mil.item() == pytest.approx(
        collaboration.eq_18_mil(case.midn, prior.double().numpy(), case.labels, 1e-6, "mean"), rel=1e-12
    )
    mined = mine_instances(scores, torch.from_numpy(case.boxes), labels, foreground_iou=0.5, ignored_below_iou=0)
    logits = case.refinement_logits[0]
    loss = refinement_loss(torch.from_numpy(logits), mined.labels, mined.weights, normalizer="valid_count")
    expected = collaboration.eq_19_refinement(
        logits, case.midn, prior.double().numpy(), case.boxes, case.labels, 0.5, "valid_count"
    )
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_a_class_without_a_region_leaves_every_proposal_at_one() -> None:
    masks = torch.zeros(2, 4, 4, dtype=torch.bool)
    masks[1, 0, 0] = True  # one cell, too small below
    cells = torch.tensor([[0, 0, 1, 1], [2, 2, 4, 4]])
    assert torch.equal(prior_of(masks, cells, min_cells=2), torch.ones(2, 2))


def test_of_several_regions_the_best_covered_one_counts() -> None:
    masks = torch.zeros(1, 3, 8, dtype=torch.bool)
    masks[0, :, :2] = masks[0, :, 5:8] = True
    cells = torch.tensor([[0, 0, 2, 3], [5, 0, 8, 3], [0, 0, 8, 3]])  # each region exactly, then both with the gap
    assert prior_of(masks, cells)[:, 0].tolist() == pytest.approx([1, 1, (9 / 24 + 0.5) / 1.5])


def test_a_thin_diagonal_region_does_not_pass_for_the_box_around_it() -> None:
    masks = torch.eye(4, dtype=torch.bool)[None]
    cells = torch.tensor([[0, 0, 4, 4], [0, 0, 1, 1]])
    by_region, by_box = prior_of(masks, cells, overlap="region"), prior_of(masks, cells, overlap="bbox")
    assert by_region[:, 0].tolist() == [1, 1]  # 4 of 16 cells, 1 of 4
    assert by_box[:, 0].tolist() == pytest.approx([1, (1 / 16 + 0.5) / 1.5])


def test_proposals_that_miss_every_region_are_equally_good() -> None:
    masks = torch.zeros(1, 4, 4, dtype=torch.bool)
    masks[0, 0, 0] = True
    assert prior_of(masks, torch.tensor([[2, 2, 4, 4], [3, 3, 4, 4]]))[:, 0].tolist() == [1, 1]


@pytest.mark.parametrize("tau_0", [0.0, -1.0])
def test_a_tolerance_that_is_not_positive_is_refused(tau_0: float) -> None:
    with pytest.raises(ValueError, match="tau_0"):
        prior_of(torch.ones(1, 2, 2, dtype=torch.bool), torch.tensor([[0, 0, 1, 1]]), tau_0)


def test_of_equally_strong_maps_the_lower_class_takes_the_pixel() -> None:
    maps = torch.full((3, 1, 1), 1 / 3)
    masks = binarize_maps(maps, torch.tensor([1.0, 1.0]), binarization="argmax", threshold=0.5)
    assert masks.flatten().tolist() == [True, False]


def test_an_absent_class_takes_no_pixel_from_a_present_one() -> None:
    maps = torch.tensor([0.3, 0.5, 0.2]).view(3, 1, 1)
    masks = binarize_maps(maps, torch.tensor([1.0, 0.0]), binarization="argmax", threshold=0.5)
    assert masks.flatten().tolist() == [True, False]


def test_the_gradient_goes_to_the_scores_and_not_to_the_maps() -> None:
    maps = torch.rand(2, 3, 3, requires_grad=True)
    scores = torch.rand(2, 1, requires_grad=True)
    masks = binarize_maps(maps, torch.ones(1), binarization="relative", threshold=0.5)
    prior = prior_of(masks, torch.tensor([[0, 0, 2, 2], [0, 0, 3, 3]])).requires_grad_(True)
    apply_segmentation_prior(scores, prior).sum().backward()
    assert scores.grad is not None
    assert torch.equal(scores.grad, prior.detach())
    assert maps.grad is None
    assert prior.grad is None
