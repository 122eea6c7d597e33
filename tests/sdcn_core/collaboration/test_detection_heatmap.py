import numpy as np
import torch
from torch import Tensor

from sdcn_core.collaboration.detection_heatmap import background_heatmap, detection_heatmap
from tests.reference import collaboration
from tests.reference.cases import Case, every_case
from tests.reference.detection_branch import eq_1_detection, eq_5_refinement


def heat_of(scores: Tensor, cells: list[list[int]], labels: list[float], height: int, width: int) -> Tensor:
    return detection_heatmap(scores, torch.tensor(cells), torch.tensor(labels), height=height, width=width)


@every_case
def test_the_heat_of_the_classes_equals_the_papers_equation(case: Case) -> None:
    detection = eq_1_detection([eq_5_refinement(logits) for logits in case.refinement_logits])[:, :-1]
    heat = detection_heatmap(
        torch.from_numpy(detection),
        torch.from_numpy(case.cells),
        torch.from_numpy(case.labels),
        height=case.height,
        width=case.width,
    )
    expected = collaboration.eq_21_heatmap(detection, case.cells.tolist(), case.labels, case.height, case.width)
    np.testing.assert_allclose(heat, expected, rtol=1e-12, atol=1e-14)


@every_case
def test_the_heat_of_the_background_equals_the_papers_equation(case: Case) -> None:
    heat = collaboration.eq_21_heatmap(case.midn, case.cells.tolist(), case.labels, case.height, case.width)
    np.testing.assert_array_equal(background_heatmap(torch.from_numpy(heat)), collaboration.eq_22_background(heat))


def test_boxes_that_share_a_cell_add_their_scores() -> None:
    heat = heat_of(torch.tensor([[0.2], [0.6]]), [[0, 0, 2, 1], [1, 0, 3, 1]], [1.0], 1, 4)
    torch.testing.assert_close(heat, torch.tensor([[[0.25, 1.0, 0.75, 0.0]]]))


def test_a_class_without_heat_stays_zero() -> None:
    heat = heat_of(torch.tensor([[0.0, 0.5]]), [[0, 0, 1, 1]], [1.0, 1.0], 1, 2)
    assert heat.tolist() == [[[0, 0]], [[1, 0]]]


def test_an_absent_class_has_no_heat_however_high_its_scores() -> None:
    heat = heat_of(torch.tensor([[0.9, 0.5]]), [[0, 0, 1, 1]], [0.0, 1.0], 1, 2)
    assert heat.tolist() == [[[0, 0]], [[1, 0]]]


def test_without_a_positive_class_everything_is_background() -> None:
    heat = heat_of(torch.tensor([[0.9, 0.5]]), [[0, 0, 1, 1]], [0.0, 0.0], 2, 2)
    assert torch.equal(background_heatmap(heat), torch.ones(2, 2))


def test_a_box_at_the_last_row_and_column_leaves_no_heat_elsewhere() -> None:
    heat = heat_of(torch.tensor([[0.3]]), [[3, 2, 4, 3]], [1.0], 3, 4)
    assert heat[0].nonzero().tolist() == [[2, 3]]


def test_where_no_box_is_hardly_a_trace_of_heat_is_left_and_never_a_negative_one() -> None:
    generator = torch.Generator().manual_seed(0)
    corner = torch.randint(0, 20, (2000, 2), generator=generator)
    cells = torch.cat([corner, corner + 1 + torch.randint(0, 10, (2000, 2), generator=generator)], dim=1)
    scores = torch.rand(2000, 3, generator=generator).pow(9)  # of all magnitudes, or their sums would be exact
    heat = detection_heatmap(scores, cells, torch.ones(3), height=40, width=40)
    uncovered = torch.ones(40, 40, dtype=torch.bool)
    uncovered[:30, :30] = False
    assert heat[:, uncovered].max() < 1e-12
    assert heat.min() >= 0


def test_the_heat_has_the_scores_precision_and_no_gradient() -> None:
    heat = heat_of(torch.rand(1, 1, requires_grad=True), [[0, 0, 1, 1]], [1.0], 1, 2)
    assert heat.dtype == torch.float32
    assert not heat.requires_grad
    assert not background_heatmap(heat.requires_grad_(True)).requires_grad
