"""The number of torch's threads, the same from the first step to the last: the bits of a sum depend on it."""

import torch

from sdcn_core.models.roi_pool import roi_pool


def start_threads(device: torch.device) -> None:
    """Start every pool of threads that a run will use, and leave torch the number of threads that it was granted.

    When numba starts its OpenMP threads it sets their number for the whole process, torch's with it. Left to the first
    pooling of a run, that would happen before its label stages or after them, as the run judges an untrained network
    or not, and the same stage would end in other bits.
    """
    if device.type != "cpu":
        return
    granted = torch.get_num_threads()
    roi_pool(torch.zeros(1, 1, 1, 1), torch.tensor([[0.0, 0.0, 8.0, 8.0]]), torch.tensor([0]), stride=8, grid=1)
    torch.set_num_threads(granted)
