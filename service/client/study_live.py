"""A study while it runs: a table of its runs for a person, lines where nobody sees a table move."""

from collections.abc import Callable, Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from service.client.errors import ClientError
from service.client.live import duration, losses_of, remaining, whereabouts
from service.jobs.answers import JobRead, RunRead
from service.jobs.states import JobState, RunNow

SHOWN_RUNS = 30
BAR_WIDTH = 24
_COLORS = {
    RunNow.RUNNING: "cyan",
    RunNow.SUCCEEDED: "green",
    RunNow.STOPPED_EARLY: "yellow",
    RunNow.FAILED: "red",
    RunNow.UNFINISHED: "yellow",
}
_FIRST = (RunNow.RUNNING, RunNow.FAILED, RunNow.SUCCEEDED, RunNow.STOPPED_EARLY, RunNow.UNFINISHED, RunNow.WAITING)
"""which are shown where not all can be"""


def watch_study(jobs: Iterable[JobRead], ask_runs: Callable[[], Sequence[RunRead]], console: Console) -> JobRead:
    """Show a study from one look to the next and return the last look at its job.

    Args:
        jobs: looks at the job.
        ask_runs: the runs as they are now; asked at each look.
        console: a terminal gets a table that renews itself, anything else a line for each change.

    Raises:
        ValueError: there was not one look.
    """
    last = (_show_table if console.is_terminal else _print_lines)(jobs, _patient(ask_runs), console)
    if last is None:
        raise ValueError("nothing was seen of the job")
    return last


def _patient(ask_runs: Callable[[], Sequence[RunRead]]) -> Callable[[], Sequence[RunRead]]:
    """The runs as last seen while the service is away: `jobs` decides how long that is borne."""
    seen: Sequence[RunRead] = ()

    def ask() -> Sequence[RunRead]:
        nonlocal seen
        try:
            seen = ask_runs()
        except ClientError as error:
            if not error.may_pass:
                raise
        return seen

    return ask


def _show_table(jobs: Iterable[JobRead], ask_runs: Callable[[], Sequence[RunRead]], console: Console) -> JobRead | None:
    job = None
    with Live(console=console, auto_refresh=False) as live:
        for job in jobs:
            room = max(3, min(SHOWN_RUNS, console.height - 8))
            live.update(study_view(job, ask_runs(), room=room), refresh=True)
    return job


def study_view(job: JobRead, runs: Sequence[RunRead], *, room: int = SHOWN_RUNS) -> RenderableType:
    """The study's own bar, and a row each run, at most `room` of them."""
    head = Table.grid(padding=(0, 2))
    fraction = 1.0 if job.state is JobState.SUCCEEDED else (job.progress.fraction if job.progress else 0.0)
    eta = remaining(job.progress) if job.state is JobState.RUNNING else ""
    head.add_row(Text(whereabouts(job), style="bold"), _bar(fraction), f"{fraction:4.0%}", eta)
    table = Table(box=None, pad_edge=False)
    for column in ("run", "", "", "", "", "latest losses"):
        table.add_column(column, overflow="ellipsis", no_wrap=True)
    shown = set(sorted(range(len(runs)), key=lambda index: _FIRST.index(runs[index].state))[:room])
    for index, run in enumerate(runs):
        if index in shown:
            table.add_row(*_row(run))
    left = len(runs) - len(shown)
    return Group(head, table, *([Text(f"and {left} more", style="dim")] if left else []))


def _row(run: RunRead) -> tuple[RenderableType, ...]:
    progress = run.progress
    state = Text(run.state.replace("_", " "), style=_COLORS.get(run.state, "dim"))
    if run.state is RunNow.RUNNING and progress is not None:
        eta = "" if progress.eta_s is None else f"{duration(progress.eta_s)} left"
        where = Text(f"{progress.stage} {progress.step}/{progress.stage_steps}", style="cyan")
        losses = Text(losses_of(progress.metrics), style="dim")
        return Text(run.name), where, _bar(progress.fraction), f"{progress.fraction:4.0%}", eta, losses
    ended = run.failure.message if run.failure is not None else value_of(run)
    return Text(run.name), state, "", "", "", Text(ended)


def value_of(run: RunRead) -> str:
    """What a run that ended found, in a few words; empty before."""
    if run.mean_ap is not None:
        return f"mAP {100 * run.mean_ap:.1f}"
    if run.mean_classification_ap is not None:
        return f"classification mAP {100 * run.mean_classification_ap:.1f}"
    return "" if run.value is None else f"{run.value:.4g}"


def _bar(fraction: float) -> ProgressBar:
    return ProgressBar(total=1.0, completed=fraction, width=BAR_WIDTH)


def _print_lines(
    jobs: Iterable[JobRead], ask_runs: Callable[[], Sequence[RunRead]], console: Console
) -> JobRead | None:
    """A line for each state of the job, for each run that begins or ends, and for each tenth of the study."""
    job = None
    said: tuple[object, ...] = ()
    known: dict[str, RunNow] = {}
    for job in jobs:
        for run in ask_runs():
            if run.state is not known.get(run.name, RunNow.WAITING):
                ended = run.failure.message if run.failure is not None else value_of(run)
                console.print(f"      {run.name}: {run.state.replace('_', ' ')}  {ended}".rstrip(), soft_wrap=True)
            known[run.name] = run.state
        fraction = 1.0 if job.state is JobState.SUCCEEDED else (job.progress.fraction if job.progress else 0.0)
        if (job.state, int(fraction * 10)) != said:
            said = (job.state, int(fraction * 10))
            parts = (f"{fraction:4.0%}", whereabouts(job), remaining(job.progress))
            console.print("  ".join(part for part in parts if part), soft_wrap=True)
    return job
