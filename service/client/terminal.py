"""What the commands of `sdcn` share: how they find the service, and how they speak."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import Console

from service.client.address import server_url
from service.client.client import SdcnClient

Url = Annotated[
    str | None, typer.Option("--url", help="Address of the service; else SDCN_URL, else the home folder's.")
]
Home = Annotated[Path | None, typer.Option("--home", help="The service's folder; else SDCN_HOME, else .sdcn here.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the service's answer as it is.")]
JobId = Annotated[str, typer.Argument(help="The job's id.")]


def open_client(url: str | None, home: Path | None) -> SdcnClient:
    """The service that the command line, SDCN_URL or the home folder names.

    Raises:
        ServerUnknown: none does.
    """
    return SdcnClient(server_url(url, home))


def out() -> Console:
    """Without markup: messages of the service may hold brackets."""
    return Console(markup=False, emoji=False, highlight=False)


def err() -> Console:
    return Console(stderr=True, markup=False, emoji=False, highlight=False)


def say(text: str) -> None:
    out().print(text, soft_wrap=True)


def complain(text: str) -> None:
    err().print(text, style="red", soft_wrap=True)


def print_json(answer: BaseModel) -> None:
    out().print_json(answer.model_dump_json())


def print_json_list(answers: Sequence[BaseModel]) -> None:
    out().print_json(json.dumps([answer.model_dump(mode="json") for answer in answers]))
