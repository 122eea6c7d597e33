"""Where the service is: told on the command line, in SDCN_URL, or by the service itself in its home folder."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from service.client.errors import ServerUnknown

DEFAULT_HOME = Path(".sdcn")


def home_folder(home: Path | None, environment: Mapping[str, str] = os.environ) -> Path:
    """The service's home folder: as given, SDCN_HOME, or .sdcn here."""
    return (home or Path(environment.get("SDCN_HOME") or DEFAULT_HOME)).expanduser().absolute()


def server_url(url: str | None, home: Path | None, environment: Mapping[str, str] = os.environ) -> str:
    """The service's address.

    Raises:
        ServerUnknown: nowhere given.
    """
    if found := url or environment.get("SDCN_URL"):
        return found
    path = home_folder(home, environment) / "service.json"
    try:
        return str(json.loads(path.read_text())["url"])
    except (OSError, ValueError, KeyError, TypeError):
        raise ServerUnknown(
            f"no service is known: start one with `sdcn up`, or say where it is with --url or SDCN_URL"
            f" (there is no readable {path})"
        ) from None
