import pytest
import torch
from torch import Tensor

from sdcn_core.losses.boxes import box_regression_loss
from sdcn_core.structures.box_deltas import DELTA_UNITS, decode_boxes, encode_boxes
from sdcn_core.structures.outputs import DetectionOutput

PROPOSALS = torch.tensor([[0.0, 0, 10, 10], [2, 0, 12, 10], [40, 40, 50, 60]], dtype=torch.double)
SEEDS = PROPOSALS[[0, 0, 0]]
LABELS = torch.tensor([1, 1, 2])  # two classes, so the last is background
WEIGHTS = torch.tensor([0.5, 0.4, 0.5], dtype=torch.double)


def loss_of(deltas: Tensor, labels: Tensor = LABELS) -> Tensor:
    return box_regression_loss(deltas, PROPOSALS, labels, WEIGHTS, SEEDS, normalizer="valid_count")


def perfect() -> Tensor:
    deltas = torch.zeros(3, 2, 4, dtype=torch.double)
    deltas[:, 1] = encode_boxes(PROPOSALS, SEEDS) / torch.tensor(DELTA_UNITS)
    return deltas


def test_deltas_that_move_every_foreground_proposal_onto_its_seed_cost_nothing() -> None:
    assert loss_of(perfect()).item() == pytest.approx(0)
    assert loss_of(torch.zeros(3, 2, 4, dtype=torch.double)) > 0


def test_descending_it_moves_the_boxes_that_are_detected_onto_the_seeds() -> None:
    deltas = torch.zeros(3, 2, 4, dtype=torch.double, requires_grad=True)
    optimizer = torch.optim.SGD([deltas], lr=2.0)
    for _ in range(100):
        optimizer.zero_grad()
        loss_of(deltas).backward()
        optimizer.step()
    detected = DetectionOutput(torch.rand(3, 2), (torch.rand(3, 3),), refinement_deltas=(deltas.detach(),))
    moves = detected.detection_deltas()
    assert moves is not None
    moved = decode_boxes(PROPOSALS, moves)
    torch.testing.assert_close(moved[:2, 1], SEEDS[:2], rtol=0, atol=1e-3)
    torch.testing.assert_close(moved[2, 1], PROPOSALS[2])  # background stays


def test_only_the_deltas_of_the_own_class_of_foreground_get_a_gradient() -> None:
    deltas = torch.randn(3, 2, 4, dtype=torch.double, requires_grad=True)
    (gradient,) = torch.autograd.grad(loss_of(deltas), deltas)
    assert gradient[:2, 1].ne(0).all()
    assert gradient[:, 0].eq(0).all()
    assert gradient[2].eq(0).all()


def test_background_counts_in_what_the_loss_is_divided_by() -> None:
    deltas = perfect()
    deltas[0, 1, 0] += 3.0  # smooth L1: 2.5
    assert loss_of(deltas).item() == pytest.approx(0.5 * 2.5 / 3)


def test_without_foreground_it_is_zero_with_zero_gradient() -> None:
    deltas = torch.randn(3, 2, 4, dtype=torch.double, requires_grad=True)
    loss = loss_of(deltas, torch.full((3,), 2))
    assert loss.item() == 0
    assert torch.equal(torch.autograd.grad(loss, deltas)[0], torch.zeros(3, 2, 4, dtype=torch.double))


def test_its_gradient_is_the_numerical_one() -> None:
    deltas = torch.randn(3, 2, 4, dtype=torch.double, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    assert torch.autograd.gradcheck(loss_of, deltas)
