"""Means over classes, of which some have no value."""

from collections.abc import Sequence


def mean_over_classes(values: Sequence[float | None]) -> float | None:
    """Mean of the values that exist; None where none does.

    >>> mean_over_classes((0.5, None, 1.0))
    0.75
    """
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
