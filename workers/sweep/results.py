"""What a sweep found, put together from its runs."""

from collections.abc import Sequence
from statistics import fmean

from service.jobs.study_results import RunFound, RunState, SharedStageFound, SweepResults
from service.jobs.sweep_spec import SweepSpec
from workers.sweep.curves import curves_of


def sweep_results(
    spec: SweepSpec, runs: Sequence[RunFound], shared: Sequence[SharedStageFound], *, wall_seconds: float
) -> SweepResults:
    """The results of a resolved sweep whose runs have all ended, in the order of their numbers."""
    return SweepResults(
        runs=tuple(runs),
        shared=tuple(shared),
        wall_seconds=wall_seconds,
        metric=spec.metric,
        goal=spec.goal,
        best=best_run(spec.goal, runs),
        curves=curves_of(spec, runs),
    )


def best_run(goal: str, runs: Sequence[RunFound]) -> str | None:
    """The best run of the best trial, which is the one with the best mean over those of its seeds that came to their
    end; the earliest of equals, None where no run did.

    The best of all runs would be the luckiest seed: the more seeds, the less it says about the setting.
    """
    sign = 1.0 if goal == "max" else -1.0
    trials: dict[str, dict[str, float]] = {}
    for run in runs:
        if run.state is RunState.SUCCEEDED and run.value is not None:
            trials.setdefault(run.variant, {})[run.name] = sign * run.value
    if not trials:
        return None
    best = max(trials.values(), key=lambda values: fmean(values.values()))
    return max(best, key=lambda name: best[name])
