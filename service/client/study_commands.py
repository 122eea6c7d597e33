"""`sdcn runs`, `sdcn table`, `sdcn artifacts`: what a job has to show besides its results."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from service.client import terminal
from service.client.tables import artifacts_table, runs_table
from service.client.terminal import AsJson, Home, JobId, Url, out, print_json_list, say

Run = Annotated[str | None, typer.Option("--run", help="Of this run of a study; else the job's own.")]


class TableFormat(StrEnum):
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"


def runs(job_id: JobId, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """List the trainings of a study as they are now."""
    with terminal.open_client(url, home) as client:
        found = client.runs(job_id)
    if as_json:
        print_json_list(found)
    elif found:
        out().print(runs_table(found))
    else:
        say("it has no runs: only an ablation and a sweep have")


def table(
    job_id: JobId,
    table_format: Annotated[TableFormat, typer.Option("--format", help="How it is written.")] = TableFormat.MARKDOWN,
    url: Url = None,
    home: Home = None,
) -> None:
    """Print the table of an ablation, or the trials of a sweep."""
    with terminal.open_client(url, home) as client:
        typer.echo(client.table(job_id, table_format.value).rstrip("\n"))


def artifacts(
    job_id: JobId,
    run: Run = None,
    fetch: Annotated[
        Path | None, typer.Option("--fetch", metavar="FOLDER", file_okay=False, help="Download them into this folder.")
    ] = None,
    name: Annotated[list[str] | None, typer.Option("--name", help="Only these; may be repeated.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """List the files that a job or a run has left, or download them."""
    with terminal.open_client(url, home) as client:
        found = [file for file in client.artifacts(job_id, run=run) if not name or file.name in name]
        if missing := set(name or ()) - {file.name for file in found}:
            raise typer.BadParameter(f"there is no {', '.join(sorted(missing))} among its files")
        if fetch is not None:
            fetch.mkdir(parents=True, exist_ok=True)
            for file in found:
                client.fetch(file, fetch)
                if not as_json:
                    say(str(fetch / file.name))
    if as_json:
        print_json_list(found)
    elif not found:
        say("no files yet")
    elif fetch is None:
        out().print(artifacts_table(found))
