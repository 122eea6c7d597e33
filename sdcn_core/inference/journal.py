"""What is done, line by line in a file, so that work that was cut off goes on where it stopped."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self


class Journal:
    """Entries by their `file`, kept in JSON lines under a heading that says what they are of.

    Args:
        path: of the file. Entries under another heading are thrown away; a last line that was cut off, too.
        heading: model and settings; entries of others would not belong together.
    """

    def __init__(self, path: Path, heading: Mapping[str, Any]) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        whole = 0
        for line in _whole_lines(path):
            entry = _parsed(line)
            if entry is None or (entry != heading if whole == 0 else "file" not in entry):
                break
            if whole:
                self.entries[entry["file"]] = entry
            whole += len(line)
        self._file: IO[bytes] = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(whole)
        self._file.seek(whole)
        if whole == 0:
            self._write(heading)

    def add(self, entry: Mapping[str, Any]) -> None:
        """Keep an entry; a killed process has it on disk, a machine that lost power may not."""
        self._write(entry)
        self.entries[entry["file"]] = dict(entry)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()


def _whole_lines(path: Path) -> list[bytes]:
    if not path.exists():
        return []
    return [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
