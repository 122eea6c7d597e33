import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

IN_A_NEW_PROCESS = """
import torch
from sdcn_core.models.roi_pool import roi_pool

torch.set_num_threads(1)
roi_pool(torch.zeros(1, 4, 8, 8), torch.tensor([[0.0, 0.0, 32.0, 32.0]]), torch.tensor([0]), stride=8, grid=2)
print(torch.get_num_threads())
"""


def test_torch_keeps_the_threads_that_it_was_granted_when_numba_starts_its_own() -> None:
    unlimited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", IN_A_NEW_PROCESS]
    done = subprocess.run(command, env=unlimited, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
