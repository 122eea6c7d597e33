"""The processes that train together. Outside torch.distributed there is one, and every collective is the identity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed


@dataclass(frozen=True)
class Ranks:
    """This process among all; every method but the properties is a collective: each rank calls it, in the same
    order.
    """

    rank: int
    world_size: int
    device: torch.device

    @classmethod
    def current(cls, device: torch.device) -> "Ranks":
        """What torch.distributed says, or a single rank where it is not initialized."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size(), device)
        return cls(0, 1, device)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Each value averaged over the ranks, which all must have the same names."""
        if self.world_size == 1 or not values:
            return dict(values)
        names = sorted(values)
        summed = torch.tensor([values[name] for name in names], dtype=torch.float64, device=self.device)
        distributed.all_reduce(summed)
        return dict(zip(names, (summed / self.world_size).tolist(), strict=True))

    def gather(self, value: Any) -> list[Any]:  # noqa: ANN401 - anything picklable goes through
        """The values of all ranks, in order of rank, on every rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        distributed.all_gather_object(values, value)
        return values
