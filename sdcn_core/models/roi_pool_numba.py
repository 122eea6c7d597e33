"""RoI max pooling for CPUs, compiled by numba. Importing this module needs numba; nothing else in the package does.

Channels are the inner loops over a channels-last map, so that they vectorize. Threads take boxes in the forward and
channels in the backward, where boxes overlap: no two threads write to one place, and every sum has the same order with
any number of threads.
"""

import threading
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdcn_core.compiled import compiled
from sdcn_core.models.roi_bins import RoiBins

Array = NDArray[Any]

CHANNEL_BLOCK = 32
"""channels a thread takes at a time in the backward; two cache lines of the map"""

VALUES_PER_THREAD = 500_000
"""about a millisecond's work: waiting for a thread that has less costs more than it saves when the machine is busy"""

# numba's fallback threading layer aborts the process when two threads enter it at once.
_one_at_a_time = threading.Lock()


@compiled(parallel=True)
def _forward(
    cells: Array, rows: Array, columns: Array, batch_index: Array, values: Array, argmax: Array, keep_argmax: bool
) -> None:
    num_boxes, grid = rows.shape[0], rows.shape[1]
    width, depth = cells.shape[2], cells.shape[3]
    for box in numba.prange(num_boxes):
        best = np.empty(depth, cells.dtype)
        where = np.empty(depth, np.int32)
        image = batch_index[box]
        for bin_row in range(grid):
            for bin_column in range(grid):
                y0, y1 = rows[box, bin_row, 0], rows[box, bin_row, 1]
                x0, x1 = columns[box, bin_column, 0], columns[box, bin_column, 1]
                place = bin_row * grid + bin_column
                if y1 <= y0 or x1 <= x0:
                    values[box, :, place] = 0
                    if keep_argmax:
                        argmax[box, place, :] = -1
                    continue
                best[:] = cells[image, y0, x0, :]
                where[:] = y0 * width + x0
                for y in range(y0, y1):
                    for x in range(x0, x1):
                        here = np.int32(y * width + x)
                        if keep_argmax:
                            for channel in range(depth):
                                value = cells[image, y, x, channel]
                                better = value > best[channel]
                                best[channel] = value if better else best[channel]
                                where[channel] = here if better else where[channel]
                        else:
                            for channel in range(depth):
                                value = cells[image, y, x, channel]
                                best[channel] = value if value > best[channel] else best[channel]
                for channel in range(depth):
                    values[box, channel, place] = best[channel]
                if keep_argmax:
                    argmax[box, place, :] = where


@compiled(parallel=True)
def _backward(gradient: Array, argmax: Array, batch_index: Array, cells_gradient: Array, block: int) -> None:
    num_boxes, places = argmax.shape[0], argmax.shape[1]
    depth = cells_gradient.shape[2]
    for channels in numba.prange((depth + block - 1) // block):
        first, end = channels * block, min(depth, (channels + 1) * block)
        for box in range(num_boxes):
            image = batch_index[box]
            for place in range(places):
                if argmax[box, place, first] < 0:  # an empty bin is empty in every channel
                    continue
                for channel in range(first, end):
                    cells_gradient[image, argmax[box, place, channel], channel] += gradient[box, channel, place]


def forward(cells: Tensor, bins: RoiBins, batch_index: Tensor, *, keep_argmax: bool) -> tuple[Tensor, Tensor | None]:
    """See `roi_pool_reference.forward`."""
    num_boxes, grid = bins.rows.shape[:2]
    depth = cells.shape[3]
    values = cells.new_empty(num_boxes, depth, grid, grid)
    argmax = torch.empty(num_boxes if keep_argmax else 0, grid * grid, depth, dtype=torch.int32)
    with _one_at_a_time:
        _take_threads(values.numel())
        _forward(
            cells.numpy(),
            bins.rows.numpy(),
            bins.columns.numpy(),
            batch_index.numpy(),
            values.flatten(2).numpy(),
            argmax.numpy(),
            keep_argmax,
        )
    return values, argmax if keep_argmax else None


def backward(gradient: Tensor, argmax: Tensor, batch_index: Tensor, cells_shape: torch.Size) -> Tensor:
    """See `roi_pool_reference.backward`."""
    batch, height, width, depth = cells_shape
    cells_gradient = gradient.new_zeros(batch, height * width, depth)
    with _one_at_a_time:
        _take_threads(gradient.numel())
        _backward(
            gradient.contiguous().flatten(2).numpy(),
            argmax.numpy(),
            batch_index.numpy(),
            cells_gradient.numpy(),
            CHANNEL_BLOCK,
        )
    return cells_gradient.view(cells_shape)


def _take_threads(values: int) -> None:
    # torch's number is what the operator granted this process; several workers share a machine.
    granted = torch.get_num_threads()
    usable = min(granted, numba.config.NUMBA_NUM_THREADS)
    numba.set_num_threads(max(1, min(usable, values // VALUES_PER_THREAD)))
    if torch.get_num_threads() != granted:
        # When numba starts its OpenMP threads it sets their number for the whole process, torch's with it; the bits of
        # torch's sums depend on it, so they would change in the middle of a run.
        torch.set_num_threads(granted)
