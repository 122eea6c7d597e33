"""f^D. N proposals, C classes, K refinements."""

import pytest
import torch
from torch import Tensor

from sdcn_core.config.model import DetectionConfig
from sdcn_core.models.detection_branch import DetectionBranch

C = 3
CONFIG = DetectionConfig(roi_grid=3, hidden=16, dropout=0.5, refinements=2)


@pytest.fixture
def branch() -> DetectionBranch:
    branch = DetectionBranch(4, 8, C, CONFIG).eval()
    for parameter in branch.parameters():  # first weights are so small that all scores are nearly equal
        torch.nn.init.normal_(parameter, std=0.5)
    return branch


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, 4, 6, 5)


def test_every_image_gets_scores_for_its_own_proposals(
    branch: DetectionBranch, x: Tensor, proposals: tuple[Tensor, ...]
) -> None:
    outputs = branch(x, proposals)
    assert [o.midn_scores.shape for o in outputs] == [(3, C), (1, C)]
    assert [[logits.shape for logits in o.refinement_logits] for o in outputs] == [[(3, C + 1)] * 2, [(1, C + 1)] * 2]
    for image, output in enumerate(outputs):
        (alone,) = branch(x[image][None], (proposals[image],))
        torch.testing.assert_close(alone.midn_scores, output.midn_scores)
        torch.testing.assert_close(alone.detection_scores(), output.detection_scores())


def test_box_regression_gives_every_image_deltas_for_its_own_proposals_and_at_first_hardly_moves_them(
    x: Tensor, proposals: tuple[Tensor, ...]
) -> None:
    config = CONFIG.model_copy(update={"box_regression": True})
    branch = DetectionBranch(4, 8, C, config).eval()
    outputs = branch(x, proposals)
    assert [[deltas.shape for deltas in o.refinement_deltas] for o in outputs] == [[(3, C, 4)] * 2, [(1, C, 4)] * 2]
    for image, output in enumerate(outputs):
        (alone,) = branch(x[image][None], (proposals[image],))
        torch.testing.assert_close(alone.refinement_deltas, output.refinement_deltas)
        deltas = output.detection_deltas()
        assert deltas is not None
        assert deltas.abs().max() < 0.05


def test_without_box_regression_it_has_no_parameters_for_it() -> None:
    names = [name for name, _ in DetectionBranch(4, 8, C, CONFIG).named_parameters()]
    assert not [name for name in names if "box" in name]


def test_detection_scores_of_a_proposal_sum_to_one(
    branch: DetectionBranch, x: Tensor, proposals: tuple[Tensor, ...]
) -> None:
    scores = branch(x, proposals)[0].detection_scores()
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(3))


def test_image_scores_are_probabilities(branch: DetectionBranch, x: Tensor, proposals: tuple[Tensor, ...]) -> None:
    for output in branch(x, proposals):
        image_scores = output.midn_scores.sum(dim=0)
        assert ((image_scores > 0) & (image_scores < 1)).all()


def test_a_single_proposal_is_selected_for_certain(
    branch: DetectionBranch, x: Tensor, proposals: tuple[Tensor, ...]
) -> None:
    midn_scores = branch(x, proposals)[1].midn_scores
    torch.testing.assert_close(midn_scores.sum(), torch.tensor(1.0))  # what is left is the softmax over classes


def test_the_order_of_proposals_does_not_matter(
    branch: DetectionBranch, x: Tensor, proposals: tuple[Tensor, ...]
) -> None:
    order = torch.tensor([2, 0, 1])
    straight = branch(x, proposals)[0]
    mixed = branch(x, (proposals[0][order], proposals[1]))[0]
    torch.testing.assert_close(mixed.midn_scores, straight.midn_scores[order])
    torch.testing.assert_close(mixed.detection_scores(), straight.detection_scores()[order])


def test_without_refinements_it_detects_as_wsddn_does(x: Tensor, proposals: tuple[Tensor, ...]) -> None:
    branch = DetectionBranch(4, 8, C, DetectionConfig(roi_grid=3, hidden=16, refinements=0)).eval()
    output = branch(x, proposals)[0]
    assert output.refinement_logits == ()
    assert torch.equal(output.detection_scores()[:, :C], output.midn_scores)


def test_dropout_is_for_training_only(branch: DetectionBranch, x: Tensor, proposals: tuple[Tensor, ...]) -> None:
    assert torch.equal(branch(x, proposals)[0].midn_scores, branch(x, proposals)[0].midn_scores)
    branch.train()
    assert not torch.equal(branch(x, proposals)[0].midn_scores, branch(x, proposals)[0].midn_scores)


def test_first_scores_are_nearly_uniform(x: Tensor, proposals: tuple[Tensor, ...]) -> None:
    output = DetectionBranch(4, 8, C, CONFIG).eval()(x, proposals)[0]
    torch.testing.assert_close(output.midn_scores, torch.full((3, C), 1 / (3 * C)), rtol=0.2, atol=0)
    torch.testing.assert_close(output.detection_scores(), torch.full((3, C + 1), 1 / (C + 1)), rtol=0.2, atol=0)
