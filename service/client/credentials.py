"""The key by which the service knows the client: told in SDCN_API_KEY, or kept in a file that its owner alone reads."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from service.client.errors import KeyUnusable
from service.tokens import TOKEN

DEFAULT_FILE = Path("~/.config/sdcn/api_key")


def api_key(environment: Mapping[str, str] = os.environ) -> str | None:
    """SDCN_API_KEY, else what the file has that SDCN_API_KEY_FILE names, else ~/.config/sdcn/api_key; None: none of
    them is there, which is right for a service that is open.

    Raises:
        KeyUnusable: what was found is no key, or others can read its file. The message never has it.
    """
    if given := environment.get("SDCN_API_KEY"):
        return _checked(given, "SDCN_API_KEY")
    named = environment.get("SDCN_API_KEY_FILE")
    path = Path(named or DEFAULT_FILE).expanduser()
    try:
        with path.open() as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise KeyUnusable(f"others can read the key in {path}: chmod 600 {path}")
            return _checked(file.read(1000), str(path))
    except FileNotFoundError:
        if named:
            raise KeyUnusable(f"there is no {path}, which SDCN_API_KEY_FILE names") from None
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise KeyUnusable(f"{path} cannot be read: {type(error).__name__}") from None


def _checked(text: str, place: str) -> str:
    if TOKEN.fullmatch(text.strip()) is None:
        raise KeyUnusable(f"what {place} holds is no key of the service: those are sdcn_, 12 characters, _ and 43 more")
    return text.strip()
