import numpy as np
import torch

from sdcn_core.structures.outputs import DetectionOutput
from tests.reference.cases import Case, every_case
from tests.reference.detection_branch import eq_1_detection, eq_5_refinement


@every_case
def test_detection_scores_are_the_mean_of_the_refinements(case: Case) -> None:
    output = DetectionOutput(
        midn_scores=torch.from_numpy(case.midn),
        refinement_logits=tuple(torch.from_numpy(logits) for logits in case.refinement_logits),
    )
    expected = eq_1_detection([eq_5_refinement(logits) for logits in case.refinement_logits])
    np.testing.assert_allclose(output.detection_scores(), expected, rtol=1e-12)


def test_without_refinements_the_midn_detects() -> None:
    scores = torch.rand(3, 2)
    detection = DetectionOutput(midn_scores=scores, refinement_logits=()).detection_scores()
    assert torch.equal(detection, torch.cat([scores, torch.zeros(3, 1)], dim=1))


def test_detection_deltas_are_the_mean_of_the_refinements_out_of_their_units() -> None:
    deltas = torch.ones(2, 3, 4)  # (N, C, 4)
    output = DetectionOutput(torch.rand(2, 3), (torch.rand(2, 4),) * 2, refinement_deltas=(deltas, 3 * deltas))
    torch.testing.assert_close(output.detection_deltas(), torch.tensor([0.2, 0.2, 0.4, 0.4]).expand(2, 3, 4))


def test_without_box_regression_there_are_no_deltas() -> None:
    assert DetectionOutput(torch.rand(2, 3), (torch.rand(2, 4),)).detection_deltas() is None
