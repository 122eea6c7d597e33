"""A function on two ranks: gloo processes of one thread each.

They are forks of one process that has imported the trainer: a fresh one spends more on that than on a tiny training.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed, multiprocessing

IMPORTED_ONCE = ["sdcn_core.models.roi_pool_numba", "sdcn_core.training.trainer"]


def on_two_ranks(work: Callable[..., None], *arguments: object, meet: Path) -> None:
    """Call `work` with the rank and the arguments on both, and wait for them.

    Args:
        work: a function of a module, which other processes can import.
        arguments: what other processes can be sent.
        meet: a file that is not there yet, by which the ranks find each other.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(IMPORTED_ONCE)
    multiprocessing.start_processes(_rank, args=(work, meet, arguments), nprocs=2, start_method="forkserver")


def _rank(rank: int, work: Callable[..., None], meet: Path, arguments: tuple[object, ...]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meet}", rank=rank, world_size=2, timeout=timedelta(seconds=120)
    )
    try:
        work(rank, *arguments)
    finally:
        distributed.destroy_process_group()
