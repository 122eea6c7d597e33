"""Jobs and results as tables and sentences for a terminal.

Consoles are made without markup: messages of the service may hold brackets.
"""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from service.client.live import duration, losses, remaining, whereabouts
from service.jobs.answers import JobRead, JobSummary, PresetRead
from service.jobs.results import Judgement, TrainResults
from service.jobs.states import JobState

COLORS = {
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.RUNNING: "cyan",
    JobState.STOPPING: "yellow",
    JobState.RETRY_WAIT: "yellow",
}


def results_table(results: TrainResults) -> Table:
    """AP and CorLoc of each class and their means in percent, beside the untrained network and chance."""
    judged = [("trained", results.trained), ("untrained", results.untrained), ("chance", results.chance)]
    columns = [(name, judgement) for name, judgement in judged if judgement is not None]
    test, train = results.trained.num_test_images, results.trained.num_train_images
    title = f"AP on {test} test images, CorLoc on {train} training images, in percent"
    table = Table(title=title, title_justify="left")
    table.add_column("class")
    for measure in ("AP", "CorLoc"):
        for name, _ in columns:
            trained = name == "trained"
            table.add_column(measure if trained else name, justify="right", style="bold" if trained else None)
    for label in results.classes:
        ap = [_percent(judgement.ap.get(label)) for _, judgement in columns]
        corloc = [_percent(judgement.corloc.get(label)) for _, judgement in columns]
        table.add_row(label, *ap, *corloc)
    table.add_section()
    table.add_row("mean", *_means(columns, "mean_ap"), *_means(columns, "mean_corloc"), style="bold")
    return table


def _means(columns: list[tuple[str, Judgement]], field: str) -> list[str]:
    return [_percent(getattr(judgement, field)) for _, judgement in columns]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def jobs_table(jobs: Iterable[JobSummary]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("id", "name", "state", "progress", "created (UTC)"):
        table.add_column(column)
    for job in jobs:
        progress = "" if job.progress is None else f"{job.progress.fraction:.0%} {job.progress.stage}"
        created = f"{job.created_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(job.id, job.name or "", colored(job.state), progress, created)
    return table


def colored(state: JobState) -> Text:
    return Text(state, style=COLORS.get(state, ""))


def job_details(job: JobRead) -> Table:
    """A job and its attempts, a fact a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("job", f"{job.id} ({job.kind}{f', {job.name}' if job.name else ''})")
    table.add_row("state", colored(job.state))
    if job.failure is not None:
        table.add_row("reason", f"{job.failure.reason}: {job.failure.message}")
    table.add_row("progress", f"{whereabouts(job)}  {remaining(job.progress)}  {losses(job.progress)}".strip())
    table.add_row("created", f"{job.created_at:%Y-%m-%d %H:%M:%S} UTC, priority {job.priority}")
    if job.started_at is not None and job.ended_at is not None:
        table.add_row("took", duration((job.ended_at - job.started_at).total_seconds()))
    for attempt in job.attempts:
        outcome = attempt.outcome or "under way"
        why = f" ({attempt.failure.reason}: {attempt.failure.message})" if attempt.failure else ""
        resumed = "" if attempt.resumed_from_step is None else f", resumed from step {attempt.resumed_from_step}"
        table.add_row(f"attempt {attempt.attempt}", f"{outcome}{why}, by {attempt.worker_id}{resumed}")
    table.add_row("experiment", f"digest {job.config_digest}")
    if job.mlflow is not None:
        table.add_row("MLflow", job.mlflow.url or f"run {job.mlflow.run_id}")
    for artifact in job.artifacts:
        table.add_row("file", artifact)
    return table


def ending(job: JobRead) -> Text:
    """One sentence on how a job ended."""
    text = Text.assemble("job ", (job.id, "bold"), " ", colored(job.state))
    if job.failure is not None:
        text.append(f" ({job.failure.reason}): {job.failure.message}")
    return text


def presets_table(presets: Iterable[PresetRead]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("preset", style="bold")
    table.add_column("what it is")
    for preset in presets:
        table.add_row(preset.name, preset.description)
    return table
