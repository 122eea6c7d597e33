"""Following a job to its end, in front of a person."""

from collections.abc import Iterable

from rich.console import Console

from service.client.client import SdcnClient
from service.client.live import watch_live
from service.client.result_tables import results_view
from service.client.study_live import watch_study
from service.client.tables import ending
from service.client.terminal import complain, err, out, print_json, say
from service.jobs.answers import JobRead
from service.jobs.states import JobState

STUDIES = ("ablation", "sweep")


def show_live(client: SdcnClient, job: JobRead, looks: Iterable[JobRead], console: Console) -> JobRead:
    """Show the job from one look to the next, a study with its runs; the last look."""
    if job.kind in STUDIES:
        return watch_study(looks, lambda: client.runs(job.id), console)
    return watch_live(looks, console)


def follow(client: SdcnClient, job_id: str, *, as_json: bool) -> int:
    """Show the job to its end and what it found; the exit code, by how it ended."""
    try:
        job = show_live(client, client.get(job_id), client.follow(job_id), err() if as_json else out())
    except KeyboardInterrupt:
        complain(f"job {job_id} goes on; `sdcn watch {job_id}` follows it, `sdcn cancel {job_id}` ends it")
        return 130
    if as_json:
        print_json(client.results(job_id) if job.state is JobState.SUCCEEDED else job)
    else:
        print_ending(client, job)
    return 0 if job.state is JobState.SUCCEEDED else 1


def print_ending(client: SdcnClient, job: JobRead) -> None:
    out().print(ending(job), soft_wrap=True)
    if job.state is JobState.SUCCEEDED:
        out().print(results_view(client.results(job.id)))
    if job.mlflow is not None and job.mlflow.url is not None:
        say(f"MLflow: {job.mlflow.url}")
