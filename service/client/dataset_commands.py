"""`sdcn datasets`: registered data sets, what is in them, and whether they can be used."""

from typing import Annotated, Any

import typer
from pydantic import JsonValue, ValidationError

from service.client import terminal
from service.client.client import SdcnClient
from service.client.dataset_tables import counts_view, datasets_table
from service.client.following import follow
from service.client.spec_options import read_override, refused_by
from service.client.terminal import AsJson, Home, Url, out, print_json, print_json_list, say
from service.jobs.answers import DatasetRead
from service.jobs.data_specs import DatasetSpec
from service.jobs.states import DatasetState

app = typer.Typer(help="Register data sets, have them checked and counted, and name them in jobs.")

DatasetName = Annotated[str, typer.Argument(metavar="NAME", help="What jobs call the data set.")]
Watch = Annotated[bool, typer.Option("--watch", help="Then follow the check to its end.")]


@app.callback(invoke_without_command=True)
def datasets(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """List the registered data sets with their images."""
    if (command := context.invoked_subcommand) is not None:
        if as_json or url is not None or home is not None:
            raise typer.BadParameter(f"write options behind the command: sdcn datasets {command} ... --json")
        return
    with terminal.open_client(url, home) as client:
        found = [one for one, _ in zip(client.datasets(page_size=min(limit, 200)), range(limit), strict=False)]
    if as_json:
        print_json_list(found)
    elif found:
        out().print(datasets_table(found))
    else:
        say("no data sets yet: put a folder below the data root, and `sdcn datasets add NAME FOLDER`")


@app.command()
def add(
    name: DatasetName,
    path: Annotated[
        str | None, typer.Argument(metavar="[FOLDER]", help="Where it is, below the data root (SDCN_DATA_ROOT).")
    ] = None,
    kind: Annotated[str, typer.Option(help="What sort of source it is.")] = "voc",
    train_split: Annotated[str | None, typer.Option(help="On which trainings learn.")] = None,
    test_split: Annotated[str | None, typer.Option(help="On which they are judged.")] = None,
    field: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="One more field of the source, as JSON.")
    ] = None,
    watch: Watch = False,
    as_json: AsJson = False,
    url: Url = None,
    home: Home = None,
) -> None:
    """Register a data set: `sdcn datasets add animals voc12_animals --train-split train --watch`."""
    given: dict[str, JsonValue] = {"path": path, "train_split": train_split, "test_split": test_split}
    said = {name: value for name, value in given.items() if value is not None}
    body: dict[str, Any] = {"name": name, "source": {"kind": kind} | said | dict(map(read_override, field or ()))}
    try:
        spec = DatasetSpec.model_validate(body)
    except ValidationError as error:
        raise refused_by(error) from None
    with terminal.open_client(url, home) as client:
        _tell_check(client, client.add_dataset(spec), watch=watch, as_json=as_json)


@app.command()
def show(name: DatasetName, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Show a data set: whether it can be used, why not, and counts per class and split."""
    with terminal.open_client(url, home) as client:
        found = client.dataset(name)
    if as_json:
        print_json(found)
        return
    say(f"{found.name} ({found.source.get('kind')}) is {found.state}, by job {found.job_id}")
    if found.counts is not None:
        out().print(counts_view(found.counts))
    else:
        for problem in found.problems:
            say(problem)


@app.command()
def check(name: DatasetName, watch: Watch = False, as_json: AsJson = False, url: Url = None, home: Home = None) -> None:
    """Have a data set read again, after its files have changed."""
    with terminal.open_client(url, home) as client:
        _tell_check(client, client.check_dataset(name), watch=watch, as_json=as_json)


@app.command()
def remove(name: DatasetName, url: Url = None, home: Home = None) -> None:
    """Forget a data set; its files stay."""
    with terminal.open_client(url, home) as client:
        client.remove_dataset(name)
    say(f"{name} is not registered any more; its files are where they were")


def _tell_check(client: SdcnClient, found: DatasetRead, *, watch: bool, as_json: bool) -> None:
    """Say how to follow the check, and follow it if that was asked for: 1 where the data set cannot be used."""
    if as_json and not watch:
        print_json(found)
    elif not as_json:
        way_on = "" if watch else f"; see `sdcn datasets show {found.name}`"
        say(f"{found.name} is being checked by job {found.job_id}{way_on}")
    if watch:
        code = follow(client, found.job_id, as_json=as_json)
        ready = code == 0 and client.dataset(found.name).state is DatasetState.READY
        raise typer.Exit(0 if ready else code or 1)
