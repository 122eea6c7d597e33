"""RoI max pooling against a twin in plain loops, written after torchvision's algorithm. B maps, D channels, R boxes."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from sdcn_core.models.roi_pool import RoiPoolForm, fastest_form, roi_pool

FORMS = [RoiPoolForm.REFERENCE, RoiPoolForm.NUMBA]
STRIDE = 8


def c_round(value: float) -> int:
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def clipped(value: int, limit: int) -> int:
    return min(max(value, 0), limit)


def twin(features: Tensor, boxes: Tensor, batch_index: Tensor, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Values (R, D, g, g) and argmax y * w + x, -1 in empty bins, likewise, with float32 edges of bins."""
    maps, (_, depth, height, width) = features.detach().numpy(), features.shape
    values = np.zeros((len(boxes), depth, grid, grid), maps.dtype)
    argmax = np.full(values.shape, -1)
    for r, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        left, top = c_round(x1 / STRIDE), c_round(y1 / STRIDE)
        right, bottom = c_round((x2 - 1) / STRIDE), c_round((y2 - 1) / STRIDE)
        bin_width = np.float32(max(right - left + 1, 1)) / np.float32(grid)
        bin_height = np.float32(max(bottom - top + 1, 1)) / np.float32(grid)
        for i, j in np.ndindex(grid, grid):
            rows = (math.floor(np.float32(i) * bin_height), math.ceil(np.float32(i + 1) * bin_height))
            columns = (math.floor(np.float32(j) * bin_width), math.ceil(np.float32(j + 1) * bin_width))
            cells = [
                (y, x)
                for y in range(clipped(rows[0] + top, height), clipped(rows[1] + top, height))
                for x in range(clipped(columns[0] + left, width), clipped(columns[1] + left, width))
            ]
            for d in range(depth if cells else 0):
                best = -math.inf
                for y, x in cells:
                    if maps[batch_index[r], d, y, x] > best:
                        best = maps[batch_index[r], d, y, x]
                        values[r, d, i, j], argmax[r, d, i, j] = best, y * width + x
    return values, argmax


def twin_gradient(argmax: np.ndarray, batch_index: Tensor, gradient: Tensor, shape: torch.Size) -> np.ndarray:
    total = np.zeros((shape[0], shape[1], shape[2] * shape[3]), np.float32)
    for r, d, i, j in np.ndindex(*argmax.shape):
        if argmax[r, d, i, j] >= 0:
            total[batch_index[r], d, argmax[r, d, i, j]] += gradient[r, d, i, j].item()
    return total.reshape(shape)


def random_boxes(count: int, width: int, height: int) -> Tensor:
    """Boxes of all sizes on half pixels: a third of them partly or wholly outside, some with their edges swapped."""
    corners = torch.randint(-40, 2 * max(width, height) + 40, (count, 2)) / 2
    sizes = torch.randint(-32, 2 * max(width, height), (count, 2)) / 2
    return torch.cat([corners, corners + sizes], dim=1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("grid", [1, 3, 7])
def test_values_equal_torchvisions_algorithm_bit_for_bit(form: RoiPoolForm, grid: int) -> None:
    features = torch.randn(2, 3, 9, 13)
    boxes, batch_index = random_boxes(60, 13 * STRIDE, 9 * STRIDE), torch.arange(60) % 2
    pooled = roi_pool(features, boxes, batch_index, stride=STRIDE, grid=grid, form=form)
    np.testing.assert_array_equal(pooled.numpy(), twin(features, boxes, batch_index, grid)[0])


@pytest.mark.parametrize("form", FORMS)
def test_gradient_goes_to_the_first_of_equal_maxima(form: RoiPoolForm) -> None:
    features = torch.randint(-2, 2, (2, 3, 9, 13)).float().requires_grad_()
    boxes, batch_index = random_boxes(40, 13 * STRIDE, 9 * STRIDE), torch.arange(40) % 2
    pooled = roi_pool(features, boxes, batch_index, stride=STRIDE, grid=3, form=form)
    gradient = torch.randint(1, 9, pooled.shape).float()  # whole numbers: sums are exact in any order
    pooled.backward(gradient)
    expected = twin_gradient(twin(features, boxes, batch_index, 3)[1], batch_index, gradient, features.shape)
    np.testing.assert_array_equal(features.grad, expected)


@pytest.mark.parametrize("form", FORMS)
def test_gradient_equals_finite_differences(form: RoiPoolForm) -> None:
    features = torch.randperm(60).double().reshape(1, 2, 5, 6).requires_grad_()  # no two values are equal
    boxes = random_boxes(5, 6 * STRIDE, 5 * STRIDE).double()
    owners = torch.zeros(5, dtype=torch.int64)
    assert torch.autograd.gradcheck(lambda x: roi_pool(x, boxes, owners, stride=STRIDE, grid=2, form=form), features)


@pytest.mark.parametrize("form", FORMS)
def test_a_box_outside_the_map_is_all_zeros_and_takes_no_gradient(form: RoiPoolForm) -> None:
    features = torch.full((1, 2, 4, 4), -1.0, requires_grad=True)
    boxes = torch.tensor([[500.0, 500.0, 600.0, 600.0], [-90.0, -90.0, -50.0, -50.0]])
    pooled = roi_pool(features, boxes, torch.zeros(2, dtype=torch.int64), stride=STRIDE, grid=2, form=form)
    pooled.sum().backward()
    assert (pooled == 0).all()
    assert features.grad is not None
    assert (features.grad == 0).all()


@pytest.mark.parametrize("form", FORMS)
def test_boxes_that_are_no_numbers_pool_nothing_and_read_nothing(form: RoiPoolForm) -> None:
    boxes = torch.tensor([[math.nan] * 4, [0.0, 0.0, math.inf, math.nan]])
    owners = torch.zeros(2, dtype=torch.int64)
    pooled = roi_pool(torch.ones(1, 1, 4, 4), boxes, owners, stride=STRIDE, grid=2, form=form)
    assert torch.isfinite(pooled).all()


@pytest.mark.parametrize("form", FORMS)
def test_no_boxes_pool_to_nothing(form: RoiPoolForm) -> None:
    features = torch.randn(1, 2, 4, 4, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    pooled = roi_pool(features, torch.zeros(0, 4), none, stride=STRIDE, grid=3, form=form)
    pooled.sum().backward()
    assert pooled.shape == (0, 2, 3, 3)
    assert features.grad is not None


@pytest.mark.parametrize("form", FORMS)
def test_without_gradient_the_values_are_the_same_and_no_graph_is_kept(form: RoiPoolForm) -> None:
    features = torch.randn(1, 3, 6, 6, requires_grad=True)
    boxes, owners = random_boxes(20, 48, 48), torch.zeros(20, dtype=torch.int64)
    with torch.no_grad():
        silent = roi_pool(features, boxes, owners, stride=STRIDE, grid=3, form=form)
    learning = roi_pool(features, boxes, owners, stride=STRIDE, grid=3, form=form)
    assert silent.grad_fn is None
    assert torch.equal(silent, learning)


def test_the_backward_has_the_same_bits_with_one_thread_and_with_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdcn_core.models.roi_pool_numba.VALUES_PER_THREAD", 1)  # so few values would get one thread
    features = torch.randn(2, 70, 6, 6, requires_grad=True)
    boxes, owners = random_boxes(50, 48, 48), torch.arange(50) % 2
    before, gradients = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            pooled = roi_pool(features, boxes, owners, stride=STRIDE, grid=3, form=RoiPoolForm.NUMBA)
            gradients.append(torch.autograd.grad(pooled.square().sum(), features)[0])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*gradients)


def test_an_owner_that_names_no_map_is_refused_before_memory_is_touched() -> None:
    with pytest.raises(IndexError, match=r"\[0, 1\), got 0 to 1"):
        roi_pool(torch.ones(1, 1, 4, 4), torch.zeros(2, 4), torch.tensor([0, 1]), stride=STRIDE, grid=1)


def test_a_machine_without_numba_falls_back_to_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert fastest_form.__wrapped__("cpu") is RoiPoolForm.REFERENCE


def test_torchvisions_operator_gives_the_same_where_it_imports() -> None:
    if fastest_form("cuda") is not RoiPoolForm.TORCHVISION:
        pytest.skip("torchvision does not import here; it has no build beside a CPU-only torch")
    features = torch.randn(2, 3, 9, 13)
    boxes, owners = random_boxes(60, 13 * STRIDE, 9 * STRIDE), torch.arange(60) % 2
    theirs = roi_pool(features, boxes, owners, stride=STRIDE, grid=7, form=RoiPoolForm.TORCHVISION)
    assert torch.equal(theirs, roi_pool(features, boxes, owners, stride=STRIDE, grid=7, form=RoiPoolForm.REFERENCE))
