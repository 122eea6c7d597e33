"""Which images of a data set were read already, so that a check that was cut off goes on where it stopped."""

import json
from pathlib import Path
from typing import IO, Any, Self


class ReadImages:
    """Which images were read and what was wrong with each, line by line in a file: a later check goes on from there.

    Args:
        path: of the file; made when missing. What comes behind a line that cannot be read is thrown away.
    """

    def __init__(self, path: Path) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        whole = 0
        if path.exists():
            with path.open("rb") as file:
                for line in file:
                    entry = _parsed(line)
                    if entry is None:
                        break
                    self._known[entry["path"]] = entry
                    whole += len(line)
        self._file: IO[bytes] = path.open("r+b" if path.exists() else "w+b")
        self._file.truncate(whole)
        self._file.seek(whole)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def knows(self, path: Path) -> bool:
        """Whether the file was read as it is now."""
        known = self._known.get(str(path))
        return known is not None and known["version"] == _version(path)

    def problem(self, path: Path) -> str | None:
        """What is wrong with a known file."""
        problem: str | None = self._known[str(path)]["problem"]
        return problem

    def add(self, path: Path, problem: str | None) -> None:
        """Keep it; a killed process has it on disk, a machine that lost power may not."""
        entry = {"path": str(path), "version": _version(path), "problem": problem}
        self._known[str(path)] = entry
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """None: it was cut off, or a machine lost power while it was written."""
    try:
        value = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) and value.keys() == {"path", "version", "problem"} else None


def _version(path: Path) -> list[int] | None:
    """What changes when the file does; None: it is gone."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]
