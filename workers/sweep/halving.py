"""Asynchronous successive halving (ASHA): which trials go on at which rung, decided from a record that survives us.

Rungs lie at grace_steps * reduction_factor^k. A trial that comes to a rung goes on if it is among the best
1/reduction_factor of those that came there before it; the first one always goes on. Tune's own scheduler decides the
same where each trial reports at each rung (a test compares them), but it forgets everything with its process unless a
pickled state is restored, stops a trial that has only its last report left, and judges a trial a second time at rungs
that it has passed.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter

from workers.attempt_folder import write_atomically

Goal = Literal["min", "max"]


class Decision(BaseModel):
    """A trial at a rung."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: str
    rung: int
    """global step from which the rung counts"""
    step: int
    """of the trial's first report there"""
    value: float
    goes_on: bool


class SuccessiveHalving:
    """The rungs of one sweep.

    Args:
        grace_steps: the first rung.
        reduction_factor: at each rung the best 1/reduction_factor go on; the next rung is this much further.
        goal: whether small or large values are good.
        decided: what was decided before, in any order.
    """

    def __init__(self, grace_steps: int, reduction_factor: int, goal: Goal, decided: Iterable[Decision] = ()) -> None:
        self._grace_steps = grace_steps
        self._factor = reduction_factor
        self._sign = 1.0 if goal == "max" else -1.0
        self._decided = list(decided)

    def decide(self, run: str, step: int, value: float, *, last_step: int) -> Decision | None:
        """What becomes of a trial that reported `value`; None where its report comes to no new rung.

        Args:
            run: the trial's run.
            step: global step of its report.
            value: of the metric.
            last_step: the run's last global step. There nothing is saved by stopping, so nothing is decided.
        """
        rung = self._rung_at(step)
        if rung is None or step >= last_step or rung in self._passed(run):
            return None
        before = [self._sign * d.value for d in self._decided if d.rung == rung]
        goes_on = not before or self._sign * value >= np.percentile(before, 100 * (1 - 1 / self._factor))
        decision = Decision(run=run, rung=rung, step=step, value=value, goes_on=bool(goes_on))
        self._decided.append(decision)
        return decision

    @property
    def decided(self) -> tuple[Decision, ...]:
        return tuple(self._decided)

    def stopped(self) -> dict[str, Decision]:
        """The decisions that ended a run, by run."""
        return {decision.run: decision for decision in self._decided if not decision.goes_on}

    def _rung_at(self, step: int) -> int | None:
        """The highest rung at or below the step."""
        if step < self._grace_steps:
            return None
        rung = self._grace_steps
        while rung * self._factor <= step:
            rung *= self._factor
        return rung

    def _passed(self, run: str) -> set[int]:
        return {decision.rung for decision in self._decided if decision.run == run}


_DECISIONS: TypeAdapter[list[Decision]] = TypeAdapter(list[Decision])


def read_decisions(path: Path) -> list[Decision]:
    """What was decided by earlier attempts; empty where none was."""
    try:
        return _DECISIONS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return []


def write_decisions(path: Path, decisions: Iterable[Decision]) -> None:
    """Durable when it returns: write before acting on the last of them."""
    write_atomically(path, _DECISIONS.dump_json(list(decisions), indent=1).decode())
