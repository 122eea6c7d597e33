"""Requests a second, for each key: a bucket that fills at that rate and holds a second's worth."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class _Bucket:
    tokens: float
    at_s: float


class Buckets:
    """Of this process alone: of several, each lets so many through.

    Args:
        clock: seconds, of which only differences count.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def wait_s(self, key_id: str, per_s: float) -> float:
        """Take a token. 0: there was one; else the seconds until there is."""
        now_s = self._clock()
        size = max(1.0, per_s)
        bucket = self._buckets.setdefault(key_id, _Bucket(size, now_s))
        bucket.tokens = min(size, bucket.tokens + (now_s - bucket.at_s) * per_s)
        bucket.at_s = now_s
        if bucket.tokens < 1.0:
            return (1.0 - bucket.tokens) / per_s
        bucket.tokens -= 1.0
        return 0.0
