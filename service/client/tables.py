"""Jobs and results as tables and sentences for a terminal.

Consoles are made without markup: messages of the service may hold brackets.
"""

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from service.client.live import duration, losses, remaining, whereabouts
from service.jobs.answers import ArtifactRead, JobRead, JobSummary, ModelRead, PresetRead, RunRead
from service.jobs.results import Judgement, TrainResults
from service.jobs.states import JobState

COLORS = {
    JobState.SUCCEEDED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
    JobState.RUNNING: "cyan",
    JobState.STOPPING: "yellow",
    JobState.PAUSED: "yellow",
    JobState.RETRY_WAIT: "yellow",
}


def results_table(results: TrainResults) -> Table:
    """AP and CorLoc (what boxes allow) of each class and their means in percent, beside the untrained network and
    chance.
    """
    return judgements_table(results.classes, results.judgements())


def judgements_table(classes: Sequence[str], judged: Mapping[str, Judgement]) -> Table:
    """AP and CorLoc (what boxes allow) of each class and their means in percent: of `trained`, beside whatever else was
    judged.
    """
    trained = judged["trained"]
    measures = trained.shown_measures()
    test, train = f"{trained.num_test_images} test images", f"{trained.num_train_images} training images"
    title, caption = trained.where(test, train, unit="in percent"), trained.told_of_trivial_boxes() or None
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("class")
    for measure in measures.values():
        for name in judged:
            is_trained = name == "trained"
            table.add_column(measure if is_trained else name, justify="right", style="bold" if is_trained else None)
    for label in classes:
        table.add_row(label, *(percent(j.of_class(measure, label)) for measure in measures for j in judged.values()))
    table.add_section()
    table.add_row("mean", *(percent(j.mean_of(measure)) for measure in measures for j in judged.values()), style="bold")
    return table


def coco_table(judged: Mapping[str, Judgement]) -> Table | None:
    """COCO's figures, in percent, of those that have them; None where none has."""
    figures = {name: judgement.coco.by_title() for name, judgement in judged.items() if judgement.coco is not None}
    if not figures:
        return None
    table = Table(title="COCO's figures on the test images, in percent", title_justify="left")
    table.add_column("figure")
    for name in figures:
        table.add_column(name, justify="right", style="bold" if name == "trained" else None)
    for title in next(iter(figures.values())):
        table.add_row(title, *(percent(values[title]) for values in figures.values()))
    return table


def percent(share: float | None) -> str:
    """A share in percent; a dash where nothing was measured."""
    return "–" if share is None else f"{100 * share:.1f}"


def jobs_table(jobs: Iterable[JobSummary]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("id", "kind", "name", "state", "progress", "created (UTC)"):
        table.add_column(column)
    for job in jobs:
        progress = "" if job.progress is None else f"{job.progress.fraction:.0%} {job.progress.stage}"
        created = f"{job.created_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(job.id, job.kind, job.name or "", colored(job.state), progress, created)
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
        table.add_row("way out", job.failure.way_out)
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
    table.add_column("kind")
    table.add_column("what it is")
    for preset in presets:
        table.add_row(preset.name, preset.kind, preset.description)
    return table


def runs_table(runs: Iterable[RunRead]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("run", "seed", "state", "progress", "mAP", "CorLoc", "value"):
        table.add_column(column)
    for run in runs:
        progress = "" if run.progress is None else f"{run.progress.fraction:.0%} {run.progress.stage}"
        value = "–" if run.value is None else f"{run.value:.4g}"
        state = run.state.replace("_", " ")
        table.add_row(run.name, str(run.seed), state, progress, percent(run.mean_ap), percent(run.mean_corloc), value)
    return table


def models_table(models: Iterable[ModelRead]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("model", "name", "method", "data", "mAP", "CorLoc", "registered"):
        table.add_column(column)
    for model in models:
        registered = model.registered
        champion = ", champion" if registered is not None and registered.champion else ""
        version = "" if registered is None else f"{registered.name}/{registered.version}{champion}"
        measures = percent(model.mean_ap), percent(model.mean_corloc)
        table.add_row(model.id, model.name, model.method, model.data_set, *measures, version)
    return table


def model_details(model: ModelRead) -> Table:
    """A model, a fact a line."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("model", f"{model.id} ({model.method}, {model.name})")
    table.add_row("trained", f"by job {model.job_id} on {model.data_set}, {model.created_at:%Y-%m-%d %H:%M} UTC")
    table.add_row("classes", ", ".join(model.classes))
    if model.mean_ap is None and model.mean_classification_ap is not None:
        table.add_row("mAP of labels", percent(model.mean_classification_ap))
    table.add_row("mAP, CorLoc", f"{percent(model.mean_ap)}, {percent(model.mean_corloc)}")
    if (registered := model.registered) is not None:
        champion = ", the champion" if registered.champion else ""
        table.add_row("registered", f"{registered.name}, version {registered.version}{champion}")
    table.add_row("files", ", ".join(model.files))
    return table


def artifacts_table(artifacts: Iterable[ArtifactRead]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("file")
    table.add_column("bytes", justify="right")
    table.add_column("sha256", style="dim")
    for artifact in artifacts:
        table.add_row(artifact.name, f"{artifact.num_bytes:,}", artifact.sha256[:16])
    return table
