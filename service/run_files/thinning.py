"""Fewer points that draw the same line."""

import math
from collections.abc import Sequence


def thinned(values: Sequence[float], limit: int) -> list[int]:
    """Indices of at most `limit` of the values, increasing: the first and the last, and of each stretch between them
    the smallest and the largest, so that no peak is lost; of stretches with NaN or infinities one of those too.

    Raises:
        ValueError: limit < 8.

    >>> thinned([0, 1, 9, 1, 0, 1, -9, 1, 0, 0], 8)
    [0, 1, 2, 3, 4, 6, 7, 9]
    """
    if limit < 8:
        raise ValueError(f"a line is drawn from at least 8 points, got {limit}")
    count = len(values)
    if count <= limit:
        return list(range(count))
    per_stretch = 2 if all(map(math.isfinite, values)) else 3
    stretches = (limit - 2) // per_stretch
    kept = {0, count - 1}
    for stretch in range(stretches):
        inside = range(1 + (count - 2) * stretch // stretches, 1 + (count - 2) * (stretch + 1) // stretches)
        finite = [index for index in inside if math.isfinite(values[index])]
        if finite:
            kept |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
        if len(finite) < len(inside):
            kept.add(next(index for index in inside if not math.isfinite(values[index])))
    return sorted(kept)
