"""`sdcn webhooks`: who is told when a job comes to a state."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from service.client import terminal
from service.client.spec_options import refused_by
from service.client.terminal import AsJson, Home, Url, out, print_json, print_json_list, say
from service.jobs.states import JobState
from service.jobs.webhook_answers import DeliveryRead, WebhookRead, WebhookSpec

app = typer.Typer(help="Have an address called when a job comes to a state.")

WebhookId = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id.")]


@app.callback(invoke_without_command=True)
def webhooks(context: typer.Context, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """List the registered webhooks, and how many messages wait or were given up."""
    if (command := context.invoked_subcommand) is not None:
        if as_json or url is not None or home is not None:
            raise typer.BadParameter(f"write options behind the command: sdcn webhooks {command} ... --json")
        return
    with terminal.open_client(url, home) as client:
        found = client.webhooks()
    if as_json:
        print_json_list(found)
    elif found:
        out().print(_webhooks_table(found))
    else:
        say("no webhooks yet: `sdcn webhooks add https://example.org/hook`")


@app.command()
def add(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="Where messages are posted to.")],
    on: Annotated[
        list[JobState] | None,
        typer.Option("--on", help="A state it is told of; may be repeated. Else the ends of jobs."),
    ] = None,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Register a webhook, and print its secret, this once."""
    body: dict[str, Any] = {"url": address} | ({"events": on} if on else {})
    try:
        spec = WebhookSpec.model_validate(body)
    except ValidationError as error:
        raise refused_by(error) from None
    with terminal.open_client(url, home) as client:
        made = client.add_webhook(spec)
    if as_json:
        print_json(made)
        return
    say(f"webhook {made.id} is told of {', '.join(made.events)}")
    say(f"its secret, which is not shown again: {made.secret}")


@app.command()
def show(
    webhook_id: WebhookId,
    limit: Annotated[int, typer.Option(min=1, help="At most so many messages.")] = 20,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Show a webhook and what it was told, newest first, and what went wrong."""
    with terminal.open_client(url, home) as client:
        webhook = client.webhook(webhook_id)
        listed = client.deliveries(webhook_id, page_size=min(limit, 200))
        found = [delivery for delivery, _ in zip(listed, range(limit), strict=False)]
    if as_json:
        print_json_list(found)
        return
    out().print(_webhooks_table([webhook]))
    if found:
        out().print(_deliveries_table(found))
    else:
        say("no messages yet")


@app.command()
def remove(webhook_id: WebhookId, url: Url = None, home: Home = None) -> None:
    """Forget a webhook, with what it was still to be told."""
    with terminal.open_client(url, home) as client:
        client.remove_webhook(webhook_id)
    say(f"webhook {webhook_id} is told nothing any more")


def _webhooks_table(found: Sequence[WebhookRead]) -> Table:
    table = Table()
    for column in ("id", "address", "told of"):
        table.add_column(column, overflow="fold")
    for column in ("waiting", "delivered", "given up"):
        table.add_column(column, justify="right")
    for one in found:
        counts = map(str, (one.pending, one.delivered, one.dead))
        table.add_row(one.id, one.url, ", ".join(one.events), *counts)
    return table


def _deliveries_table(found: Sequence[DeliveryRead]) -> Table:
    table = Table()
    for column in ("event", "job", "state", "tries", "what went wrong"):
        table.add_column(column, overflow="fold")
    for one in found:
        table.add_row(one.type, one.job_id, one.state, str(one.tries), one.last_error or "")
    return table
