from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

from sdcn_core.export.onnx_model import export_onnx, run_onnx
from sdcn_core.export.operator import roi_max_pool
from sdcn_core.models.roi_pool import roi_pool


class Pool(nn.Module):
    """The operator alone."""

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, features: Tensor, boxes: Tensor) -> Tensor:
        return roi_max_pool(features, boxes, 8, self.grid)


def boxes_on_eighths(count: int, side: int) -> Tensor:
    """On eighths of a pixel, so that many round from exactly half a cell; some outside, some with edges swapped."""
    corners = torch.randint(-400, 64 * side + 400, (count, 2)) / 8
    sizes = torch.randint(-100, 64 * side, (count, 2)) / 8
    return torch.cat([corners, corners + sizes], dim=1)


def test_the_operator_keeps_torchs_rules_for_operators() -> None:
    samples = (torch.randn(1, 3, 5, 7), torch.tensor([[0.0, 0.0, 20.0, 30.0], [3.0, 3.0, 4.0, 4.0]]), 8, 3)
    torch.library.opcheck(roi_max_pool, samples)


@pytest.mark.parametrize("grid", [1, 3, 7])
def test_onnx_rounds_boxes_to_the_same_cells_bit_for_bit(grid: int, tmp_path: Path) -> None:
    torch.manual_seed(grid)
    dynamic = ({2: Dim.DYNAMIC, 3: Dim.DYNAMIC}, {0: Dim.DYNAMIC})
    example = (torch.randn(1, 3, 9, 13), boxes_on_eighths(5, 13))
    path = tmp_path / "pool.onnx"
    export_onnx(torch.export.export(Pool(grid), example, dynamic_shapes=dynamic), path, properties={})
    for height, width in ((1, 1), (9, 13), (30, 17)):
        features, boxes = torch.randn(1, 3, height, width), boxes_on_eighths(300, max(height, width))
        ours = roi_pool(features, boxes, torch.zeros(300, dtype=torch.int64), stride=8, grid=grid)
        np.testing.assert_array_equal(run_onnx(path, features, boxes)[0], ours)
