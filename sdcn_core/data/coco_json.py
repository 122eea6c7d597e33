"""The three lists of a COCO instances file, read entry by entry: the file's text is in memory, its objects are not."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcn_core.errors import DatasetError

MAX_FILE_BYTES = 2**30
"""twice the largest of COCO's own"""
LISTS = ("images", "annotations", "categories")
NEEDED_LISTS = ("images", "categories")
_BLANK = re.compile(r"[ \t\n\r]*")

Id = int | str
Entry = dict[str, Any]


@dataclass(frozen=True)
class CocoFile:
    """What was made of the entries of each list, in file order."""

    images: list[Any]
    categories: list[Any]
    annotations: list[Any] | None = None
    """None: the file has no such list, as COCO's own of test splits"""


def read_coco(path: Path, makers: dict[str, Callable[[Entry], Any]]) -> CocoFile:
    """The lists of the file, each entry turned into what its maker makes of it at once.

    Args:
        path: the JSON file.
        makers: by the name of the list; may raise DatasetError.

    Raises:
        DatasetError: the file is missing, too large, no JSON, or no object with lists of images and categories.
    """
    text = _read(path)
    found: dict[str, list[Any]] = {}
    try:
        at = _after(text, 0, "{")
        while not text.startswith("}", at):
            key, at = _decoder.raw_decode(text, at)
            at = _after(text, at, ":")
            if key in LISTS:
                found[key], at = _read_list(text, at, makers[key], f"{path}: {key}")
            else:
                _, at = _decoder.raw_decode(text, at)
            at = _blanks(text, at)
            if not text.startswith("}", at):
                at = _after(text, at, ",")
    except (ValueError, RecursionError) as error:
        reason = "too deep" if isinstance(error, RecursionError) else str(error)
        raise DatasetError(f"annotations {path} are no JSON object ({reason}): correct or replace the file") from error
    if missing := [name for name in NEEDED_LISTS if name not in found]:
        raise DatasetError(
            f"annotations {path} have no list {missing[0]!r}: a COCO instances file has {', '.join(LISTS)}"
        )
    return CocoFile(**found)


_decoder = json.JSONDecoder()


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DatasetError(f"annotations {path} have more than {MAX_FILE_BYTES >> 20} MiB: split them")
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise DatasetError(
            f"annotations {path} cannot be read ({error.strerror}): put them there, or correct data.source.annotations"
            " and the splits"
        ) from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"annotations {path} are no UTF-8 text ({error}): write them as such") from error


def _read_list(text: str, at: int, make: Callable[[Entry], Any], where: str) -> tuple[list[Any], int]:
    if not text.startswith("[", at):
        raise DatasetError(f"{where} is no list: write it as one")
    made: list[Any] = []
    at = _after(text, at, "[")
    while not text.startswith("]", at):
        entry, at = _decoder.raw_decode(text, at)
        if not isinstance(entry, dict):
            raise DatasetError(f"{where}, entry {len(made)} is no object: write it as one")
        made.append(make(entry))
        at = _blanks(text, at)
        if not text.startswith("]", at):
            at = _after(text, at, ",")
    return made, at + 1


def _after(text: str, at: int, sign: str) -> int:
    """The position of what follows the sign, which must come next."""
    at = _blanks(text, at)
    if not text.startswith(sign, at):
        raise json.JSONDecodeError(f"expecting {sign!r}", text, at)
    return _blanks(text, at + 1)


def _blanks(text: str, at: int) -> int:
    blank = _BLANK.match(text, at)
    assert blank is not None  # it matches nothing, too
    return blank.end()
