"""What a sweep found, put together from its runs."""

from collections.abc import Sequence

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
    """The run with the best value among those that came to their end, the earliest of equals; None where none did."""
    sign = 1.0 if goal == "max" else -1.0
    values = {run.name: sign * run.value for run in runs if run.state is RunState.SUCCEEDED and run.value is not None}
    return max(values, key=lambda name: values[name]) if values else None
