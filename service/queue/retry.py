"""Whether an attempt that failed is followed by another, and when: two budgets, exponential back-off with jitter."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from service.jobs.budgets import Spent
from service.jobs.states import FailureReason


@dataclass(frozen=True)
class RetryDecision:
    again: bool
    delay_s: float
    """until the next attempt may be claimed; 0 where there is none"""
    spent: Spent
    """this failure counted"""


@dataclass(frozen=True)
class RetryPolicy:
    """Waits at most base_s after the first failure of a kind, `factor` times longer after each further one, never above
    longest_s; and at random up to the share `jitter` shorter, so that what failed together does not come back together.

    >>> [RetryPolicy(base_s=5, factor=2, longest_s=60).longest_delay_s(failures) for failures in (1, 2, 3, 9)]
    [5.0, 10.0, 20.0, 60.0]
    """

    base_s: float = 5.0
    factor: float = 2.0
    longest_s: float = 300.0
    jitter: float = 0.25
    random: Callable[[], float] = random.random
    """uniform in [0, 1)"""

    def longest_delay_s(self, failures: int) -> float:
        """Seconds to wait at most after failure number `failures` of a kind, which counts from 1."""
        exponent = min(failures - 1, 64)  # beyond, a float would overflow long after the bound has been reached
        return float(min(self.longest_s, self.base_s * self.factor**exponent))

    def decide(
        self, reason: FailureReason, *, spent: Spent, max_attempts: int, max_lost_attempts: int
    ) -> RetryDecision:
        """What follows a failure, by what had been spent before it."""
        if reason.budget is None:
            return RetryDecision(again=False, delay_s=0.0, spent=spent)
        after = spent.and_one(reason.budget)
        if after.is_used_up(reason.budget, max_attempts=max_attempts, max_lost_attempts=max_lost_attempts):
            return RetryDecision(again=False, delay_s=0.0, spent=after)
        longest_s = self.longest_delay_s(after.of(reason.budget))
        return RetryDecision(again=True, delay_s=longest_s * (1 - self.jitter * self.random()), spent=after)
