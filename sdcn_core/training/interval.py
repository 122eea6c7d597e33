"""What a run averages between two reports."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Interval:
    """The steps since the last report, on this rank."""

    started: float = field(default_factory=time.perf_counter)
    losses: list[Mapping[str, Tensor]] = field(default_factory=list)
    """of every step"""
    gradient_norms: list[Mapping[str, Tensor]] = field(default_factory=list)
    """of the steps that measured the terms one by one"""
    whole_gradient_norms: list[Tensor] = field(default_factory=list)
    """of every step of both players: the norm of the generator's gradient before it was clipped"""

    def means(self) -> dict[str, float]:
        """loss/<name>, gradient/<name> and gradient/norm; names without a measurement are missing."""
        means = _means("loss", self.losses) | _means("gradient", self.gradient_norms)
        if self.whole_gradient_norms:
            means["gradient/norm"] = torch.stack(self.whole_gradient_norms).mean().item()
        return means

    def seconds_per_step(self) -> float:
        return (time.perf_counter() - self.started) / max(1, len(self.losses))


def _means(kind: str, steps: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    if not steps:
        return {}
    return {f"{kind}/{name}": torch.stack([values[name] for values in steps]).mean().item() for name in steps[0]}
