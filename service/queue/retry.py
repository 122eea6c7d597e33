"""Whether an attempt that failed is followed by another, and when: exponential back-off with a bound."""

from dataclasses import dataclass

from service.jobs.states import FailureReason


@dataclass(frozen=True)
class RetryDecision:
    again: bool
    delay_s: float
    """until the next attempt may be claimed; 0 where there is none"""


@dataclass(frozen=True)
class RetryPolicy:
    """Waits base_s after the first attempt, `factor` times longer after each further one, never above longest_s.

    >>> [RetryPolicy(base_s=5, factor=2, longest_s=60).delay_s(attempt) for attempt in (1, 2, 3, 9)]
    [5.0, 10.0, 20.0, 60.0]
    """

    base_s: float = 5.0
    factor: float = 2.0
    longest_s: float = 300.0

    def delay_s(self, attempt: int) -> float:
        """Seconds to wait after attempt number `attempt`, which counts from 1."""
        exponent = min(attempt - 1, 64)  # beyond, a float would overflow long after the bound has been reached
        return float(min(self.longest_s, self.base_s * self.factor**exponent))

    def decide(self, reason: FailureReason, *, attempt: int, max_attempts: int) -> RetryDecision:
        if not reason.is_retryable or attempt >= max_attempts:
            return RetryDecision(again=False, delay_s=0.0)
        return RetryDecision(again=True, delay_s=self.delay_s(attempt))
