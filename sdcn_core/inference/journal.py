"""What is done, line by line in a file, so that work that was cut off goes on where it stopped."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self


@dataclass(frozen=True)
class Done:
    """What is kept in memory of an entry: its boxes would fill it, in a folder of many images."""

    begins_at: int
    """byte of the file at which its line begins"""
    is_broken: bool
    boxes: int
    seconds: float
    """in all; 0 of a broken image"""


class Journal:
    """Entries by their `file`, kept in JSON lines under a heading that says what they are of.

    Args:
        path: of the file. Entries under another heading are thrown away; a last line that was cut off, too.
        heading: model and settings; entries of others would not belong together.
    """

    def __init__(self, path: Path, heading: Mapping[str, Any]) -> None:
        self.done: dict[str, Done] = {}
        whole = 0
        for line in _whole_lines(path):
            entry = _parsed(line)
            if entry is None or (entry != heading if whole == 0 else "file" not in entry):
                break
            if whole:
                self.done[entry["file"]] = _done(entry, whole)
            whole += len(line)
        self._file: IO[bytes] = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(whole)
        if whole == 0:
            self._write(heading)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Keep an entry; a killed process has it on disk, a machine that lost power may not."""
        self.done[entry["file"]] = _done(entry, self._write(entry))

    def entry(self, name: str) -> dict[str, Any]:
        """The whole entry of a name that is done, from the file."""
        self._file.seek(self.done[name].begins_at)
        entry: dict[str, Any] = json.loads(self._file.readline())
        return entry

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> int:
        """Append a line; where it begins."""
        begins_at = self._file.seek(0, os.SEEK_END)
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        return begins_at


def _done(entry: Mapping[str, Any], begins_at: int) -> Done:
    if "broken" in entry:
        return Done(begins_at, is_broken=True, boxes=0, seconds=0.0)
    return Done(begins_at, is_broken=False, boxes=len(entry["boxes"]), seconds=entry["seconds"]["total"])


def _whole_lines(path: Path) -> Iterator[bytes]:
    if path.exists():
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
