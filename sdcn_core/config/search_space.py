"""Where a sweep may look: for each searched field, which values it can take. Plain data; whoever searches draws."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator

from sdcn_core.config.base import FrozenConfig

MAX_VALUES = 100


class Choice(FrozenConfig):
    """One of some values, each as likely as the others; the only domain with which a grid can be made."""

    kind: Literal["choice"] = "choice"
    values: tuple[JsonValue, ...] = Field(min_length=1, max_length=MAX_VALUES)


class _Range(FrozenConfig):
    low: float
    high: float
    """not below `low`; itself possible"""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high <= self.low:
            raise ValueError(f"high ({self.high:g}) must be larger than low ({self.low:g})")
        return self


class Uniform(_Range):
    kind: Literal["uniform"] = "uniform"


class LogUniform(_Range):
    """Uniform in the logarithm: as likely between 0.01 and 0.1 as between 0.1 and 1."""

    kind: Literal["log_uniform"] = "log_uniform"

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.low <= 0:
            raise ValueError(f"low ({self.low:g}) must be larger than 0: the logarithm of the range is searched")
        return self


class Integer(_Range):
    """Whole numbers from low to high, both possible."""

    kind: Literal["integer"] = "integer"
    low: int
    high: int


Domain = Annotated[Choice | Uniform | LogUniform | Integer, Field(discriminator="kind")]


def evenly_spaced(domain: Domain, count: int) -> tuple[float, ...]:
    """`count` values from one end of a range to the other, in its own scale; for tests of a configuration at its edges.

    >>> evenly_spaced(LogUniform(low=0.01, high=1), 3)
    (0.01, 0.1, 1.0)
    """
    if isinstance(domain, Choice):
        raise ValueError("a choice has its own values")
    steps = [index / (count - 1) for index in range(count)]
    if isinstance(domain, LogUniform):
        low, high = math.log(domain.low), math.log(domain.high)
        return tuple(round(math.exp(low + step * (high - low)), 12) for step in steps)
    return tuple(domain.low + step * (domain.high - domain.low) for step in steps)
