"""Time of RoI max pooling by each form that runs here, forward and backward, at the demo's size and at VGG16's.

Medians in ms after one call to warm up (numba compiles in it), over REPEATS calls or as many as ENOUGH_S allows.
`forward` keeps what the backward needs; `no grad` does not. Boxes are uniform, about a third of the image a side.

    python benchmarks/roi_pool.py [--threads N] [--only small]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sdcn_core.models.roi_pool import RoiPoolForm, fastest_form, roi_pool

REPEATS = 9
ENOUGH_S = 5.0
STRIDE = 8


class Size(NamedTuple):
    images: int
    channels: int
    height: int
    width: int
    boxes: int
    grid: int


SIZES = {"small": Size(4, 80, 12, 12, 384, 3), "vgg16": Size(1, 512, 60, 80, 2000, 7)}


def median_ms(call: Callable[[], object]) -> float:
    call()
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < ENOUGH_S:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def inputs(size: Size) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    features = torch.randn(size.images, size.channels, size.height, size.width)
    features = features.contiguous(memory_format=torch.channels_last).requires_grad_()  # as the backbones give them
    extent = torch.tensor([size.width, size.height]) * STRIDE
    corners = torch.rand(size.boxes, 2) * extent * 0.67
    boxes = torch.cat([corners, corners + extent * 0.33 * (0.5 + torch.rand(size.boxes, 2))], dim=1)
    return features, boxes, torch.arange(size.boxes) % size.images


def row(name: str, size: Size, form: RoiPoolForm) -> str:
    features, boxes, owners = inputs(size)

    def forward() -> Tensor:
        return roi_pool(features, boxes, owners, stride=STRIDE, grid=size.grid, form=form)

    with torch.no_grad():
        silent = median_ms(forward)
    learning = median_ms(forward)
    pooled = forward()
    gradient = torch.randn_like(pooled)
    backward = median_ms(lambda: torch.autograd.grad(pooled, features, gradient, retain_graph=True))
    return f"{name:<8}{form:<14}{silent:>10.2f}{learning:>10.2f}{backward:>10.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--only", choices=list(SIZES))
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    forms = [RoiPoolForm.REFERENCE]
    if fastest_form("cpu") is RoiPoolForm.NUMBA:
        forms.append(RoiPoolForm.NUMBA)
    if fastest_form("cuda") is RoiPoolForm.TORCHVISION:
        forms.append(RoiPoolForm.TORCHVISION)
    print(f"RoI max pooling, ms, {arguments.threads} threads, torch {torch.__version__}")
    for name, size in SIZES.items():
        if arguments.only in (None, name):
            print(f"  {name}: " + ", ".join(f"{field} {value}" for field, value in size._asdict().items()))
    print(f"{'size':<8}{'form':<14}{'no grad':>10}{'forward':>10}{'backward':>10}")
    for name, size in SIZES.items():
        if arguments.only in (None, name):
            for form in forms:
                print(row(name, size, form), flush=True)


if __name__ == "__main__":
    main()
