"""From values to places on an axis: linear and logarithmic, with ticks at round numbers."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

LOG_WORTHWHILE = 20.0
"""ratio of largest to smallest value from which a logarithmic axis shows more"""


LEAST_LOG = 1e-100
"""of a logarithmic axis; a quotient with a smaller value may be no number"""


@dataclass(frozen=True)
class Scale:
    """An axis over [low, high], low < high; logarithmic ones have low > 0."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def over(cls, values: Iterable[float], *, logarithmic: bool | None = None, include_zero: bool = False) -> Self:
        """The axis that shows all values with a little air, none below zero; of no values, [0, 1].

        `logarithmic`: None decides by the spread of the values; a request is dropped where a value is not positive.
        """
        known = [value for value in values if math.isfinite(value)]
        if not known:
            return cls(0.0, 1.0)
        low, high = min(known), max(known)
        if logarithmic is not False and low >= LEAST_LOG and (logarithmic or high / low >= LOG_WORTHWHILE):
            room = max((high / low) ** 0.05, 1.05)
            return cls(low / room, high * room, logarithmic=True)
        if include_zero:
            low, high = min(low, 0.0), max(high, 0.0)
        room = (high - low) * 0.05 or abs(high) * 0.5 or 1.0
        return cls(low - room if low < 0 else max(0.0, low - room), high + room)

    def place(self, value: float) -> float:
        """Where a value lies: 0 at low, 1 at high."""
        if self.logarithmic:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self, count: int = 5) -> list[float]:
        """At most about `count` round values within the axis.

        >>> Scale(0, 43).ticks(), Scale(0.02, 30, logarithmic=True).ticks()
        ([0.0, 10.0, 20.0, 30.0, 40.0], [0.1, 1.0, 10.0])
        """
        if self.logarithmic:
            return self._log_ticks(count)
        rough = (self.high - self.low) / count
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(index * step, 12) + 0.0 for index in range(first, last + 1)]

    def _log_ticks(self, count: int) -> list[float]:
        low, high = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
        decades = [10.0**power for power in range(low, high + 1) if self.low <= 10.0**power <= self.high]
        if len(decades) > count:
            return decades[:: math.ceil(len(decades) / count)]
        if len(decades) >= 3:
            return decades
        fine = [
            float(f"{factor}e{power}")
            for power in range(low - 1, high + 1)
            for factor in ((1, 2, 5) if self.high / self.low > 3 else range(1, 10))
        ]
        inside = [tick for tick in fine if self.low <= tick <= self.high]
        return inside if len(inside) >= 2 else Scale(self.low, self.high).ticks(count)


def tick_text(value: float) -> str:
    """A tick's value, short.

    >>> [tick_text(v) for v in (0, 0.25, 1500, 80000, 0.0005, 0.00001, 2e6)]
    ['0', '0.25', '1.5k', '80k', '0.0005', '1e-5', '2M']
    """
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e9 or size < 1e-4:
        mantissa, _, exponent = f"{value:.3g}".partition("e")
        return f"{mantissa}e{int(exponent)}" if exponent else mantissa
    if size >= 1e6:
        return f"{value / 1e6:.4g}M"
    return f"{value / 1e3:.4g}k" if size >= 1e3 else f"{value:.4g}"
