"""Names of classes, from a configuration, from a list in a file, or from what a data set calls its things."""

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sdcn_core.config.data import Name
from sdcn_core.errors import DatasetError

CLASS_LIST = "classes.txt"
MAX_LIST_BYTES = 64 * 2**20
MAX_NAME_LENGTH = 64
_UNFIT = re.compile(r"[^A-Za-z0-9_.\-]")


def given_classes(folder: Path, classes: Sequence[str] | None) -> tuple[str, ...] | None:
    """The classes that somebody listed: `classes`, else the lines of the folder's classes.txt; None: neither is there.

    Raises:
        DatasetError: the list is empty, names a class twice, or has a name that is not fit for file names.
    """
    listing = folder / CLASS_LIST
    if classes is not None:
        return valid_names(f"data.source.classes (for {folder})", classes)
    return listed_classes(listing) if listing.is_file() else None


def listed_classes(listing: Path) -> tuple[str, ...]:
    """The names in a file, one a line; DatasetError as `given_classes`."""
    return valid_names(f"class list {listing}", [line for line in read_lines(listing) if line])


def valid_names(source: str, names: Sequence[str]) -> tuple[str, ...]:
    """The names as classes; DatasetError, which begins with `source`, as `given_classes`."""
    if not names:
        raise DatasetError(f"{source} is empty: name at least one class")
    for name in names:
        try:
            TypeAdapter(Name).validate_python(name)
        except ValidationError as error:
            raise DatasetError(
                f"{source}: {name[:80]!r} cannot name a class; use letters, digits, '_', '.', '-', at most 64"
            ) from error
        if names.count(name) > 1:
            raise DatasetError(f"{source} has {name!r} more than once: name each class once")
    return tuple(names)


def class_name(text: str) -> str:
    """What a data set calls a class as a name that files and MLflow take; still unfit where nothing of it is left.

    >>> class_name("traffic light"), class_name(" cat ")
    ('traffic_light', 'cat')
    """
    return _UNFIT.sub("_", text.strip()).lstrip("_.-")[:MAX_NAME_LENGTH]


def read_lines(path: Path) -> list[str]:
    """Stripped lines, empty ones at the end dropped.

    Raises:
        DatasetError: the file cannot be read, is no UTF-8, or has more than MAX_LIST_BYTES.
    """
    return [line.strip() for line in read_text(path).rstrip().splitlines()]


def read_text(path: Path) -> str:
    """The text of a list; DatasetError as `read_lines`."""
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise DatasetError(f"list {path} has more than {MAX_LIST_BYTES >> 20} MiB: split it")
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"list {path} cannot be read ({error}): write it as UTF-8 text") from error


def some(names: set[str]) -> str:
    """A few of the names, for a message."""
    shown = sorted(names)[:10]
    return ", ".join(shown) + (", ..." if len(names) > len(shown) else "") if shown else "none"
