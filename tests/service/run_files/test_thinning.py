import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.run_files.thinning import thinned

VALUES = st.lists(st.floats(), max_size=300)


@given(values=VALUES, limit=st.integers(8, 50))
def test_a_thinned_line_keeps_its_ends_its_peaks_and_the_limit(values: list[float], limit: int) -> None:
    kept = thinned(values, limit)
    assert len(kept) <= limit
    assert kept == sorted(set(kept))
    if values:
        assert (kept[0], kept[-1]) == (0, len(values) - 1)
    finite = [value for value in values if math.isfinite(value)]
    if finite:
        shown = [values[index] for index in kept if math.isfinite(values[index])]
        assert (min(shown), max(shown)) == (min(finite), max(finite))


@given(values=VALUES)
def test_a_value_that_is_no_number_is_never_thinned_away(values: list[float]) -> None:
    kept = thinned(values, 8)
    assert all(map(math.isfinite, values)) == all(math.isfinite(values[index]) for index in kept)


def test_a_short_line_stays_whole() -> None:
    assert thinned([3.0] * 8, 8) == list(range(8))
    assert thinned([], 8) == []


def test_too_low_a_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        thinned([1.0], 7)
