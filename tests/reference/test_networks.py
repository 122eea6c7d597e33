import numpy as np
import torch

from sdcn_core.models.midn import Midn
from sdcn_core.models.refinement import Refinement
from tests.reference.cases import Case, every_case
from tests.reference.detection_branch import eq_5_refinement


@every_case
def test_the_midn_multiplies_a_softmax_over_proposals_with_one_over_classes(case: Case) -> None:
    classes = len(case.labels)
    midn = Midn(2 * classes, classes)
    with torch.no_grad():  # each stream passes on its half of the features
        midn.select.weight.copy_(torch.eye(2 * classes)[:classes])
        midn.classify.weight.copy_(torch.eye(2 * classes)[classes:])
    features = torch.from_numpy(np.concatenate([case.proposal_logits, case.class_logits], axis=1)).float()
    scores, twice = midn(torch.cat([features, features]), [len(features), len(features)])
    np.testing.assert_allclose(scores.detach(), case.midn, rtol=1e-4)
    np.testing.assert_array_equal(twice.detach(), scores.detach())  # the softmax stays within an image


@every_case
def test_a_refinement_is_a_softmax_over_the_classes_of_each_proposal(case: Case) -> None:
    size = len(case.labels) + 1
    refinement = Refinement(size, size - 1, 1, box_regression=False)
    with torch.no_grad():
        next(refinement.parameters()).copy_(torch.eye(size))
    (logits,) = refinement(torch.from_numpy(case.refinement_logits[0]).float())
    np.testing.assert_allclose(
        logits.softmax(dim=1).detach(), eq_5_refinement(case.refinement_logits[0]), rtol=1e-4, atol=1e-7
    )
