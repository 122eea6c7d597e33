"""`sdcn keys` and `sdcn audit`: who may do what, and who did what."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from service.client import terminal
from service.client.spec_options import refused_by
from service.client.terminal import AsJson, Home, Url, out, print_json, print_json_list, say
from service.jobs.access import DAY_S, AuditRead, KeyRead, KeySpec, Scope

app = typer.Typer(help="Give out API keys, list and revoke them.")


@app.callback(invoke_without_command=True)
def keys(context: typer.Context, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """List all keys, without their secrets."""
    if (command := context.invoked_subcommand) is not None:
        if as_json or url is not None or home is not None:
            raise typer.BadParameter(f"write options behind the command: sdcn keys {command} ... --json")
        return
    with terminal.open_client(url, home) as client:
        found = list(client.keys())
    if as_json:
        print_json_list(found)
    elif found:
        out().print(_keys_table(found))
    else:
        say("no keys yet: `sdcn keys create NAME`")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Whose it is, or what for.")],
    scope: Annotated[
        Scope, typer.Option(help="What it may do; each may do all that those before it may.")
    ] = Scope.READ,
    days: Annotated[int | None, typer.Option(min=1, help="How long it is good; else for ever.")] = None,
    max_queued: Annotated[int | None, typer.Option(help="Jobs that may wait at once; else any number.")] = None,
    max_gpus: Annotated[int | None, typer.Option(help="GPUs that its jobs may hold at once.")] = None,
    max_rate: Annotated[float | None, typer.Option(help="Requests a second.")] = None,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Make a key, and print it, this once."""
    given = {"max_queued_jobs": max_queued, "max_running_gpus": max_gpus, "requests_per_s": max_rate}
    body: dict[str, Any] = {"name": name, "scope": scope, **given}
    body["valid_s"] = None if days is None else days * DAY_S
    try:
        spec = KeySpec.model_validate(body)
    except ValidationError as error:
        raise refused_by(error) from None
    with terminal.open_client(url, home) as client:
        made = client.create_key(spec)
    if as_json:
        print_json(made)
        return
    say(f"key {made.id} of scope {made.scope} for {made.name}, which is not shown again:")
    say(made.key)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, the second part of it.")],
    url: Url = None,
    home: Home = None,
) -> None:
    """Let nobody in with a key any more."""
    with terminal.open_client(url, home) as client:
        client.revoke_key(key_id)
    say(f"key {key_id} lets nobody in any more")


def audit(
    subject: Annotated[
        str | None, typer.Argument(metavar="[SUBJECT]", help="A job, data set, webhook or key; else all.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many lines.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Show who did what, newest first."""
    with terminal.open_client(url, home) as client:
        listed = client.audit(subject=subject, page_size=min(limit, 200))
        found = [entry for entry, _ in zip(listed, range(limit), strict=False)]
    if as_json:
        print_json_list(found)
    elif found:
        out().print(_audit_table(found))
    else:
        say("nothing was done yet")


def _keys_table(found: Sequence[KeyRead]) -> Table:
    table = Table()
    for column in ("id", "name", "scope", "made by", "until", "may have"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(one.id, one.name, one.scope, one.created_by, _until(one), _quotas(one))
    return table


def _until(key: KeyRead) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:%Y-%m-%d}"
    return "" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M}"


def _quotas(key: KeyRead) -> str:
    bounds = {"waiting": key.max_queued_jobs, "GPUs": key.max_running_gpus, "requests/s": key.requests_per_s}
    return ", ".join(f"{bound:g} {what}" for what, bound in bounds.items() if bound is not None)


def _audit_table(found: Sequence[AuditRead]) -> Table:
    table = Table()
    for column in ("at (UTC)", "who", "key", "what", "on", "details"):
        table.add_column(column, overflow="fold")
    for one in found:
        details = ", ".join(f"{name} {value}" for name, value in one.details.items() if value is not None)
        table.add_row(f"{one.at:%Y-%m-%d %H:%M:%S}", one.key_name, one.key_id or "", one.action, one.subject, details)
    return table
