import io

from rich.console import Console

from service.client.result_tables import sweep_view
from service.jobs.study_results import RunFound, RunState, SweepResults


def test_a_trial_that_was_stopped_early_stands_below_those_that_came_to_their_end() -> None:
    ended = {"stopped": RunState.STOPPED_EARLY, "second": RunState.SUCCEEDED, "best": RunState.SUCCEEDED}
    values = {"stopped": 0.75, "second": 0.6, "best": 0.7}
    failed = RunFound(name="failed", variant="failed", seed=0, overrides={}, state=RunState.FAILED)
    runs = [
        RunFound(name=name, variant=name, seed=0, overrides={}, state=state, value=values[name])
        for name, state in ended.items()
    ]
    results = SweepResults(runs=(failed, *runs), metric="eval/mean_ap", goal="max", best="best")
    out = io.StringIO()
    Console(file=out, width=100, color_system=None).print(sweep_view(results))
    rows = [line.split()[1] for line in out.getvalue().splitlines() if line.startswith("│")]
    assert rows == ["best", "second", "stopped", "failed"]
