import numpy as np
import torch

from sdcn_core.structures.box_deltas import MAX_GROWTH, decode_boxes, encode_boxes, flip_deltas
from sdcn_core.structures.boxes import flip_boxes
from tests.reference import fast_rcnn
from tests.reference.cases import Case, every_case


@every_case
def test_deltas_equal_the_slow_ones(case: Case) -> None:
    boxes = torch.from_numpy(case.boxes).double()
    targets = boxes.roll(1, dims=0)
    expected = [fast_rcnn.delta(b, t) for b, t in zip(boxes.tolist(), targets.tolist(), strict=True)]
    np.testing.assert_allclose(encode_boxes(boxes, targets), expected, atol=1e-12)


@every_case
def test_moved_boxes_equal_the_slow_ones_for_one_delta_a_box_and_for_one_a_class(case: Case) -> None:
    boxes = torch.from_numpy(case.boxes).double()
    deltas = torch.randn(len(boxes), 3, 4, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    expected = [[fast_rcnn.moved(box, d) for d in of] for box, of in zip(boxes.tolist(), deltas.tolist(), strict=True)]
    np.testing.assert_allclose(decode_boxes(boxes, deltas), expected, rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(decode_boxes(boxes, deltas[:, 1]), np.array(expected)[:, 1], rtol=1e-12, atol=1e-9)


@every_case
def test_decoding_gives_back_what_was_encoded(case: Case) -> None:
    boxes = torch.from_numpy(case.boxes).double()
    targets = boxes.flip(0)
    np.testing.assert_allclose(decode_boxes(boxes, encode_boxes(boxes, targets)), targets, atol=1e-9)


def test_no_box_has_no_delta() -> None:
    nothing = torch.zeros(0, 4)
    assert encode_boxes(nothing, nothing).shape == decode_boxes(nothing, nothing).shape == (0, 4)
    assert decode_boxes(nothing, torch.zeros(0, 5, 4)).shape == (0, 5, 4)


def test_a_delta_means_the_same_at_every_scale() -> None:
    boxes, targets = torch.tensor([[1.0, 2, 9, 30]]), torch.tensor([[3.0, 1, 12, 20]])
    torch.testing.assert_close(encode_boxes(boxes * 7, targets * 7), encode_boxes(boxes, targets))


def test_a_network_that_asks_for_an_endless_box_gets_a_finite_one() -> None:
    grown = decode_boxes(torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([[0.0, 0, 1000, 0]]))
    torch.testing.assert_close(grown[0, 2] - grown[0, 0], torch.tensor(16 * MAX_GROWTH))
    assert torch.isfinite(grown).all()


def test_mirrored_deltas_move_mirrored_boxes_to_the_mirrored_place() -> None:
    boxes, deltas = torch.tensor([[10.0, 5, 30, 45]]), torch.tensor([[0.2, -0.1, 0.3, -0.4]])
    mirrored = decode_boxes(flip_boxes(boxes, 100), flip_deltas(deltas))
    torch.testing.assert_close(mirrored, flip_boxes(decode_boxes(boxes, deltas), 100))
