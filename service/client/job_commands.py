"""Commands for a job that is there: cancel, pause, resume, retry, clone, priority, delete."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue

from service.client import terminal
from service.client.client import SdcnClient
from service.client.following import follow
from service.client.spec_options import with_options
from service.client.terminal import AsJson, Home, JobId, Key, Url, print_json, say
from service.jobs.answers import JobRead


def cancel(
    job_id: JobId,
    force: Annotated[
        bool, typer.Option("--force", help="Kill its processes at once, without a last checkpoint.")
    ] = False,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Ask for a job's end; a running one writes a checkpoint first."""
    soon = "it will be killed at its worker's next heartbeat" if force else "it will stop at its next report"
    _ask(lambda client: client.cancel(job_id, force=force), soon, as_json=as_json, url=url, home=home)


def pause(job_id: JobId, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Let a job wait; a running one writes a checkpoint and frees what it holds."""
    soon = "it will pause at its next report"
    _ask(lambda client: client.pause(job_id), soon, as_json=as_json, url=url, home=home)


def resume(job_id: JobId, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Let a paused job go on, from its last checkpoint."""
    _ask(lambda client: client.resume(job_id), None, as_json=as_json, url=url, home=home)


def retry(job_id: JobId, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Try a job again that failed or was cancelled, from its last checkpoint."""
    _ask(lambda client: client.retry(job_id), None, as_json=as_json, url=url, home=home)


def priority(
    job_id: JobId,
    value: Annotated[int, typer.Argument(min=-100, max=100, help="Larger is claimed earlier.")],
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Let a waiting job be claimed earlier or later: `sdcn priority JOB 5`."""
    with terminal.open_client(url, home) as client:
        job = client.set_priority(job_id, value)
    if as_json:
        print_json(job)
    else:
        say(f"job {job.id} has priority {job.priority}")


def clone(
    job_id: JobId,
    override: Annotated[
        list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="One value of the experiment, as JSON.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Shown in lists and in MLflow; else that of the job.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share each step's images.")] = None,
    cpus: Annotated[int | None, typer.Option(help="CPUs of each.")] = None,
    gpus: Annotated[int | None, typer.Option(help="GPUs of each.")] = None,
    max_attempts: Annotated[int | None, typer.Option(help="How often it may be tried.")] = None,
    urgency: Annotated[int | None, typer.Option("--priority", help="Larger is earlier.")] = None,
    max_runtime_s: Annotated[float | None, typer.Option(help="It is stopped when it has run so long.")] = None,
    key: Key = None,
    watch: Annotated[bool, typer.Option("--watch", help="Then follow it to its end.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Queue a new job like one that is there, with some values changed: `sdcn clone JOB --set seed=1`."""
    resources = {"num_workers": workers, "cpus_per_worker": cpus, "gpus_per_worker": gpus}
    given: dict[str, JsonValue] = {"name": name, "max_attempts": max_attempts, "priority": urgency}
    changes = with_options({}, given | {"max_runtime_s": max_runtime_s}, resources, override or ())
    with terminal.open_client(url, home) as client:
        job = client.clone(job_id, changes, idempotency_key=key)
        if as_json:
            print_json(job)
        else:
            say(f"job {job.id} is {job.state}" + ("" if watch else f"; follow it with `sdcn watch {job.id}`"))
        if watch:
            raise typer.Exit(follow(client, job.id, as_json=as_json))


def delete(
    job_id: JobId,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Forget a job that has ended, with its files, its models and its runs in MLflow, for good."""
    if not yes:
        typer.confirm(f"Delete job {job_id} with all that it has left?", abort=True)
    with terminal.open_client(url, home) as client:
        client.delete(job_id)
    say(f"job {job_id} is deleted")


def _ask(
    ask: Callable[[SdcnClient], JobRead], soon: str | None, *, as_json: bool, url: str | None, home: Path | None
) -> None:
    """Ask, and say where the job is now and what will come of it."""
    with terminal.open_client(url, home) as client:
        job = ask(client)
    if as_json:
        print_json(job)
    else:
        say(f"job {job.id} is {job.state}" + (f"; {soon}" if soon is not None and job.state.is_leased else ""))
