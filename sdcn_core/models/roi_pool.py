"""RoI max pooling: what each proposal looks like on the map, on a fixed grid (Girshick 2015, as OICR uses it).

Three forms of one function: torchvision's operator on a GPU, a numba kernel on a CPU, and plain torch where neither can
be imported. Values are equal bit for bit, gradients up to the order of sums.
"""

import functools
import importlib
import importlib.util
from enum import StrEnum
from types import ModuleType
from typing import assert_never

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from sdcn_core.models import roi_pool_reference
from sdcn_core.models.roi_bins import RoiBins, roi_bins


class RoiPoolForm(StrEnum):
    REFERENCE = "reference"
    """plain torch, any device"""
    NUMBA = "numba"
    """compiled loops, CPU"""
    TORCHVISION = "torchvision"
    """torchvision's operator, any device it was built for"""


def roi_pool(
    features: Tensor,
    boxes: Tensor,
    batch_index: Tensor,
    *,
    stride: int,
    grid: int,
    form: RoiPoolForm | None = None,
) -> Tensor:
    """Maxima of the cells in each of grid x grid bins of each box, (R, D, grid, grid), at least float32.

    Equals torchvision.ops.roi_pool fed with (x1, y1, x2 - 1, y2 - 1) and spatial_scale 1 / stride: its boxes include
    their last pixel, ours do not. A bin without cells, of a box outside the map, is 0. Gradient goes to the first of
    equal maxima in row-major order, never to boxes.

    Args:
        features: (B, D, h, w).
        boxes: (R, 4) xyxy px, half-open. R may be 0.
        batch_index: (R,) int64 in [0, B), the map of each box.
        stride: pixels a cell, a power of two.
        grid: bins a side.
        form: None takes the fastest that is present.

    Raises:
        IndexError: an entry of batch_index names no map (checked on a CPU only; a GPU would have to wait for it).
    """
    if features.dtype not in (torch.float32, torch.float64):
        features = features.float()  # torchvision pools nothing shorter; maxima gain nothing from it
    boxes, batch_index = boxes.detach().to(features.dtype), batch_index.long()
    if form is None:
        form = fastest_form(features.device.type)
    if form is RoiPoolForm.TORCHVISION:
        corners = boxes - boxes.new_tensor([0, 0, 1, 1])
        rois = torch.cat([batch_index[:, None].to(boxes.dtype), corners], dim=1)  # (R, 5)
        return _torchvision_ops().roi_pool(features, rois, output_size=grid, spatial_scale=1 / stride)
    if features.device.type == "cpu" and len(boxes) and not 0 <= batch_index.min() <= batch_index.max() < len(features):
        raise IndexError(
            f"batch_index must lie in [0, {len(features)}), got {batch_index.min()} to {batch_index.max()}"
        )
    bins = roi_bins(boxes, stride=stride, grid=grid, height=features.shape[2], width=features.shape[3])
    cells = features.permute(0, 2, 3, 1).contiguous()  # (B, h, w, D); no copy of maps that are channels-last already
    kernels = _kernels(form)
    if torch.is_grad_enabled() and features.requires_grad:
        return _RoiMaxPool.apply(cells, bins, batch_index, kernels)
    values, _ = kernels.forward(cells.detach(), bins, batch_index, keep_argmax=False)
    return values


@functools.cache
def fastest_form(device_type: str) -> RoiPoolForm:
    """The form that is fastest on a device ("cpu", "cuda") among those that import here."""
    if device_type == "cpu":
        return RoiPoolForm.NUMBA if importlib.util.find_spec("numba") else RoiPoolForm.REFERENCE
    try:
        _torchvision_ops()
    except (ImportError, OSError, RuntimeError):  # RuntimeError: built against another torch
        return RoiPoolForm.REFERENCE
    return RoiPoolForm.TORCHVISION


def _torchvision_ops() -> ModuleType:
    return importlib.import_module("torchvision.ops")


def _kernels(form: RoiPoolForm) -> ModuleType:
    """The module with `forward` and `backward` of a form of our own."""
    match form:
        case RoiPoolForm.REFERENCE | RoiPoolForm.TORCHVISION:
            return roi_pool_reference
        case RoiPoolForm.NUMBA:
            return importlib.import_module(
                "sdcn_core.models.roi_pool_numba"
            )  # a second to import: only where it is used
        case _:
            assert_never(form)


class _Context(FunctionCtx):
    saved_tensors: tuple[Tensor, Tensor]
    cells_shape: torch.Size
    kernels: ModuleType


class _RoiMaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: _Context, cells: Tensor, bins: RoiBins, batch_index: Tensor, kernels: ModuleType) -> Tensor:
        values, argmax = kernels.forward(cells.detach(), bins, batch_index, keep_argmax=True)
        ctx.save_for_backward(argmax, batch_index)
        ctx.cells_shape = cells.shape
        ctx.kernels = kernels
        return values

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        argmax, batch_index = ctx.saved_tensors
        return ctx.kernels.backward(gradient, argmax, batch_index, ctx.cells_shape), None, None, None
