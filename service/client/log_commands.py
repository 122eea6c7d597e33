"""`sdcn logs`: what the processes of a job have written."""

import sys
from typing import Annotated

import typer

from service.client import terminal
from service.client.study_commands import Run
from service.client.terminal import Home, JobId, Url, complain
from service.jobs.log_lines import plain, readable
from service.jobs.watch_answers import LogGap, LogText


def logs(
    job_id: JobId,
    run: Run = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as it grows, with every attempt, until the job has ended.")
    ] = False,
    attempt: Annotated[
        int | None, typer.Option(min=1, help="Of this attempt; else the newest, with --follow from the first on.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Lines in JSON as they are.")] = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Print the log of a job, or of a study's run; Ctrl-C ends the printing, not the job."""
    with terminal.open_client(url, home) as client:
        try:
            for piece in client.logs(job_id, run=run, attempt=attempt, follow=follow):
                _print(piece, raw=raw)
        except KeyboardInterrupt:
            complain(f"job {job_id} goes on; `sdcn logs {job_id} --follow` begins again")
            raise typer.Exit(130) from None


def _print(piece: LogText | LogGap, *, raw: bool) -> None:
    if isinstance(piece, LogGap):
        complain(f"[{piece.num_bytes} bytes of attempt {piece.attempt} are no longer kept]")
        return
    as_it_is = raw and not sys.stdout.isatty()
    shown = plain if raw else readable
    lines = piece.text.split("\n")
    typer.echo("\n".join(lines if as_it_is else map(shown, lines)))
