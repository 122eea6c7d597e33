"""`sdcn status`, `sdcn history`, `sdcn metrics`: how the service is, what has happened to a job, and its numbers."""

import csv
import sys
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from service.client import terminal
from service.client.errors import ApiProblem
from service.client.live import duration
from service.client.study_commands import Run
from service.client.tables import colored
from service.client.terminal import AsJson, Home, JobId, Url, complain, out, print_json, print_json_list
from service.jobs.answers import Series
from service.jobs.health_answers import ComponentState, Ready
from service.jobs.watch_answers import EventRead

STATE_COLORS = {ComponentState.UP: "green", ComponentState.DOWN: "red", ComponentState.UNUSED: "dim"}
BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 40
"""characters"""


def status(as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Show what the service stands on, what of it is down, and how many jobs are in each state."""
    with terminal.open_client(url, home) as client:
        try:
            ready = client.readiness()
        except ApiProblem as problem:
            for field in problem.fields:
                complain(f"{field.field} is down: {field.message}")
            raise
    if as_json:
        print_json(ready)
    else:
        out().print(components_table(ready))
        out().print(jobs_line(ready))


def history(job_id: JobId, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Show every change of a job's state so far: when, by whom and why."""
    with terminal.open_client(url, home) as client:
        events: list[EventRead] = []
        after: int | None = 0
        while after is not None:
            page = client.event_page(job_id, after=after)
            events += page.events
            after = page.next_after
    if as_json:
        print_json_list(events)
    else:
        out().print(history_table(events))


def metrics(
    job_id: JobId,
    run: Run = None,
    name: Annotated[list[str] | None, typer.Option("--name", help="Only these; may be repeated.")] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Every point, as name,step,value.")] = False,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Show how losses and rates went over training, of a job or of a study's run."""
    with terminal.open_client(url, home) as client:
        found = client.metrics(job_id, run=run, names=name or ())
    if as_json:
        print_json(found)
    elif as_csv:
        write_points(found.series)
    else:
        out().print(metrics_table(found.series))
    if not found.complete:
        complain("the service has read a part only: ask again for the rest")


def components_table(ready: Ready) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("component")
    table.add_column("state")
    table.add_column("", overflow="fold")
    for component in ready.components:
        state = Text(component.state, style=STATE_COLORS[component.state])
        table.add_row(component.name, state, component.detail or "")
    return table


def jobs_line(ready: Ready) -> str:
    counts = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in ready.jobs.items() if count)
    waits = "" if ready.oldest_waiting_s is None else f"; the oldest has waited {duration(ready.oldest_waiting_s)}"
    return f"jobs: {counts or 'none'}{waits}"


def history_table(events: list[EventRead]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("time (UTC)", "attempt", "state", "by"):
        table.add_column(column, justify="right" if column == "attempt" else "left")
    table.add_column("why", overflow="fold")
    for event in events:
        state = Text.assemble("" if event.from_state is None else f"{event.from_state} → ", colored(event.to_state))
        table.add_row(f"{event.at:%Y-%m-%d %H:%M:%S}", str(event.attempt), state, event.actor, event.note or "")
    return table


def metrics_table(series: Mapping[str, Series]) -> Table:
    """First, least, largest and last value of each metric, and its curve."""
    table = Table(box=None, pad_edge=False)
    table.add_column("metric", no_wrap=True)
    for column in ("points", "first", "least", "largest", "last"):
        table.add_column(column, justify="right")
    table.add_column("over training")
    for name, points in sorted(series.items()):
        finite = [value for value in points.values if value is not None]
        if finite:
            shown = (f"{value:.4g}" for value in (finite[0], min(finite), max(finite), finite[-1]))
            table.add_row(name, str(len(points.values)), *shown, curve(points) if len(finite) > 1 else "")
        else:
            table.add_row(name, str(len(points.values)), "-", "-", "-", "-", "no value is finite")
    return table


def curve(points: Series) -> str:
    """A line of blocks: each is the mean of a stretch of equally many points, between the least and the largest mean.

    >>> curve(Series(steps=(1, 2, 3, 4), values=(0.0, 1.0, None, 7.0)))
    '▁▂█'
    """
    finite = [value for value in points.values if value is not None]
    stretch = max(1, -(-len(finite) // CURVE_WIDTH))
    means = [sum(part) / len(part) for part in (finite[i : i + stretch] for i in range(0, len(finite), stretch))]
    low, span = min(means), max(means) - min(means)
    if span == 0:
        return BLOCKS[0] * len(means)
    return "".join(BLOCKS[round((mean - low) / span * (len(BLOCKS) - 1))] for mean in means)


def write_points(series: Mapping[str, Series]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("name", "step", "value"))
    for name, points in sorted(series.items()):
        for step, value in zip(points.steps, points.values, strict=True):
            writer.writerow((name, step, "nan" if value is None else value))
