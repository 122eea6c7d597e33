"""Settings that are files: where Docker and Kubernetes put secrets, so that they are in nobody's environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

USUAL_FOLDER: Final = Path("/run/secrets")
PREFIX: Final = "sdcn_"
LARGEST_BYTES: Final = 64 * 1024


def secrets_folder() -> Path | None:
    """The folder SDCN_SECRETS names, or /run/secrets; None where there is none."""
    folder = Path(os.environ.get("SDCN_SECRETS") or USUAL_FOLDER)
    return folder if folder.is_dir() else None


def secret_variables() -> Mapping[str, str]:
    """What the files say, each under the name its variable would have; files that cannot be read are left out."""
    folder = secrets_folder()
    if folder is None:
        return {}
    found = {}
    for path in folder.glob(f"{PREFIX}*"):
        try:
            if path.is_file() and path.stat().st_size <= LARGEST_BYTES:
                found[path.name.upper()] = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            continue
    return found
