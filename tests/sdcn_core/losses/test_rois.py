import pytest
import torch
from torch import Tensor

from sdcn_core.losses.rois import roi_box_loss, roi_class_loss
from tests.reference import fast_rcnn

C = 3
LABELS = torch.tensor([0, C, 2, 1, C])


def drawn(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, dtype=torch.double, generator=torch.Generator().manual_seed(seed))


def test_the_loss_of_classes_equals_the_slow_one() -> None:
    logits = drawn(5, C + 1)
    expected = fast_rcnn.class_loss(logits.tolist(), LABELS.tolist())
    assert roi_class_loss(logits, LABELS).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("beta", [1.0, 0.2])
def test_the_loss_of_boxes_equals_the_slow_one(beta: float) -> None:
    deltas, targets = drawn(5, C, 4), drawn(5, 4, seed=1)
    expected = fast_rcnn.box_loss(deltas.tolist(), targets.tolist(), LABELS.tolist(), beta)
    assert roi_box_loss(deltas, targets, LABELS, beta=beta).item() == pytest.approx(expected, rel=1e-12)


def test_gradients_are_the_numerical_ones() -> None:
    logits, deltas = drawn(5, C + 1).requires_grad_(), drawn(5, C, 4).requires_grad_()
    targets = drawn(5, 4, seed=1)
    assert torch.autograd.gradcheck(lambda x: roi_class_loss(x, LABELS), logits)
    assert torch.autograd.gradcheck(lambda x: roi_box_loss(x, targets, LABELS, beta=1.0), deltas)


def test_boxes_of_other_classes_and_of_background_learn_nothing() -> None:
    deltas = drawn(5, C, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(roi_box_loss(deltas, drawn(5, 4, seed=1), LABELS, beta=1.0), deltas)
    reached = gradient.abs().sum(dim=2) > 0
    assert reached.nonzero().tolist() == [[0, 0], [2, 2], [3, 1]]


@pytest.mark.parametrize("labels", [torch.full((4,), C), torch.zeros(0, dtype=torch.int64)], ids=["background", "none"])
def test_without_foreground_the_loss_of_boxes_is_zero_and_still_reaches_every_delta(labels: Tensor) -> None:
    deltas = drawn(len(labels), C, 4).requires_grad_()
    loss = roi_box_loss(deltas, drawn(len(labels), 4), labels, beta=1.0)
    assert loss.item() == 0
    assert torch.equal(torch.autograd.grad(loss, deltas)[0], torch.zeros_like(deltas))


def test_without_a_roi_the_loss_of_classes_is_zero() -> None:
    logits = torch.zeros(0, C + 1, requires_grad=True)
    loss = roi_class_loss(logits, torch.zeros(0, dtype=torch.int64))
    assert loss.item() == 0
    loss.backward()  # type: ignore[no-untyped-call]
