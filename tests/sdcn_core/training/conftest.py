from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="package")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for all runs: the scenes and their proposals are the same."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """Bits are compared, and they depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
