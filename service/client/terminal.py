"""What the commands of `sdcn` share: how they find the service, and how they speak."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import httpx
import typer
from pydantic import BaseModel
from rich.console import Console

from service.client import completion
from service.client.address import server_url
from service.client.client import SdcnClient
from service.client.credentials import api_key

Url = Annotated[
    str | None, typer.Option("--url", help="Address of the service; else SDCN_URL, else the home folder's.")
]
Home = Annotated[Path | None, typer.Option("--home", help="The service's folder; else SDCN_HOME, else .sdcn here.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the service's answer as it is.")]
JobId = Annotated[str, typer.Argument(help="The job's id.", autocompletion=completion.jobs)]


def _key(key: str | None) -> str | None:
    """As the service reads it: what a header cannot hold would not arrive, and an empty one would name nothing."""
    if key is not None and re.fullmatch(r"[\x20-\x7e]{1,255}", key) is None:
        raise typer.BadParameter(f"a key is 1 to 255 printable ASCII characters, not {key!r}")
    return key


Key = Annotated[str | None, typer.Option(callback=_key, help="Idempotency-Key: the same one never makes two jobs.")]


def open_client(url: str | None, home: Path | None) -> SdcnClient:
    """The service that the command line, SDCN_URL or the home folder names.

    Raises:
        ServerUnknown: none does.
        KeyUnusable: the key that the environment or a file holds cannot be used.
        typer.BadParameter: what they name is no address, or the environment names a proxy that cannot be used.
    """
    address = server_url(url, home)
    try:
        parsed = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise typer.BadParameter(_no_address(address, str(error))) from None
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise typer.BadParameter(_no_address(address, "http:// or https:// and a host are missing"))
    try:
        return SdcnClient(address, key=api_key())
    except (ValueError, ImportError, httpx.InvalidURL) as error:  # of the address nothing is wrong
        raise typer.BadParameter(
            f"the proxy that the environment names for {address} cannot be used: {error}"
        ) from None


def _no_address(address: str, why: str) -> str:
    return f"{address!r} is no address of a service ({why}): give --url or SDCN_URL as in http://127.0.0.1:8000"


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
