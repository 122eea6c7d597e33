"""A job while it runs: a live bar for a person, lines where nobody sees a bar move."""

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from service.jobs.answers import JobRead, JobSummary
from service.jobs.progress import JobProgress
from service.jobs.states import Desired, JobState

SHOWN_LOSSES = 4


def watch_live(jobs: Iterable[JobRead], console: Console) -> JobRead:
    """Show a job from one look to the next and return the last look.

    Raises:
        ValueError: there was not one look.
    """
    last = (_show_bar if console.is_terminal else _print_lines)(jobs, console)
    if last is None:
        raise ValueError("nothing was seen of the job")
    return last


def _show_bar(jobs: Iterable[JobRead], console: Console) -> JobRead | None:
    job = None
    columns = (
        TextColumn("{task.fields[where]}", style="bold", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[eta]}", markup=False),
        TextColumn("{task.fields[losses]}", style="dim", markup=False),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=1.0, where="", eta="", losses="")
        for job in jobs:
            eta = remaining(job.progress) if job.state is JobState.RUNNING else ""
            bar.update(task, completed=_fraction(job), where=whereabouts(job), eta=eta, losses=losses(job.progress))
    return job


def _print_lines(jobs: Iterable[JobRead], console: Console) -> JobRead | None:
    """A line for each state and stage, and for each tenth of the run."""
    job = None
    said: tuple[object, ...] = ()
    for job in jobs:
        stage = job.progress.stage if job.progress else ""
        if (job.state, stage, int(_fraction(job) * 10)) != said:
            said = (job.state, stage, int(_fraction(job) * 10))
            parts = (f"{_fraction(job):4.0%}", whereabouts(job), remaining(job.progress), losses(job.progress))
            console.print("  ".join(part for part in parts if part), soft_wrap=True)
    return job


def _fraction(job: JobSummary) -> float:
    if job.state is JobState.SUCCEEDED:
        return 1.0
    return job.progress.fraction if job.progress else 0.0


def whereabouts(job: JobSummary) -> str:
    """Where a job is, in a few words."""
    attempt = f", attempt {job.attempt}" if job.attempt > 1 else ""
    progress = job.progress
    if job.state is JobState.RUNNING and job.desired is not Desired.RUN:
        return f"{'pausing' if job.desired is Desired.PAUSE else 'stopping'} soon{attempt}"
    if job.state is JobState.RUNNING and progress is not None:
        return f"{progress.stage} {progress.step}/{progress.stage_steps}{attempt}"
    if job.state is JobState.RUNNING:
        return f"running, nothing reported yet{attempt}"
    if job.state is JobState.RETRY_WAIT and job.failure is not None:
        return f"waits to try again after {job.failure.reason}{attempt}"
    return f"{job.state}{attempt}"


def remaining(progress: JobProgress | None) -> str:
    if progress is None or progress.eta_s is None:
        return ""
    return f"{duration(progress.eta_s)} left"


def duration(seconds: float) -> str:
    """Seconds as a person says them.

    >>> duration(59.4), duration(61), duration(7265)
    ('59 s', '1 min 01 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def losses(progress: JobProgress | None) -> str:
    """The latest losses, the first few of them."""
    return "" if progress is None else losses_of(progress.metrics)


def losses_of(metrics: Mapping[str, float]) -> str:
    """The first few losses among the metrics."""
    found = [(name.removeprefix("loss/"), value) for name, value in metrics.items() if name.startswith("loss/")]
    return "  ".join(f"{name} {value:.3g}" for name, value in found[:SHOWN_LOSSES])
