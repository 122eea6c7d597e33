"""The files that a job or a run has left for people and programs to fetch."""

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from service.errors import ArtifactNotFound
from service.run_files.folders import RunFiles, is_folder, open_file, opened

MAX_LISTED = 500
HASHED_BLOCK_BYTES = 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}")
OCTETS = "application/octet-stream"
_MEDIA_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".log": "text/plain; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".tex": "text/x-tex; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".webp": "image/webp",
}


@dataclass(frozen=True)
class Artifact:
    name: str
    num_bytes: int
    sha256: str
    """of the content, in hexadecimal"""
    media_type: str


@dataclass(frozen=True)
class OpenArtifact:
    """An artifact and its content; whoever asked for it closes `file`. It stays what it was while it is read, also
    when a worker replaces it meanwhile.
    """

    artifact: Artifact
    file: BinaryIO


def media_type(name: str) -> str:
    """By the ending; what is not known is octets, which no browser tries to show.

    >>> media_type("table.md"), media_type("model.pt")
    ('text/markdown; charset=utf-8', 'application/octet-stream')
    """
    return _MEDIA_TYPES.get(Path(name).suffix.lower(), OCTETS)


def artifact_names(files: RunFiles) -> list[str]:
    """Names of the artifacts, sorted, at most MAX_LISTED; what is being written has a hidden name and is left out."""
    if not is_folder(files.artifacts):
        return []
    with os.scandir(files.artifacts) as entries:
        names = [
            entry.name for entry in entries if _NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        ]
    return sorted(names)[:MAX_LISTED]


def list_artifacts(files: RunFiles) -> tuple[Artifact, ...]:
    """The artifacts by name; a file that vanishes meanwhile is left out."""
    found = []
    for name in artifact_names(files):
        try:
            with opened(files.artifacts / name) as file:
                found.append(_artifact(name, file))
        except FileNotFoundError:
            continue
    return tuple(found)


def open_artifact(files: RunFiles, name: str) -> OpenArtifact:
    """The artifact of this name, as a client wrote it.

    Raises:
        ArtifactNotFound: it is no name, or no regular file has it.
    """
    try:
        if _NAME.fullmatch(name) is None:
            raise FileNotFoundError(name)
        file = open_file(files.artifacts / name)
    except FileNotFoundError:
        said = ", ".join(artifact_names(files)[:20]) or "none yet"
        raise ArtifactNotFound(f"there is no artifact {name[:100]!r}; there are: {said}") from None
    return OpenArtifact(_artifact(name, file), file)


def _artifact(name: str, file: BinaryIO) -> Artifact:
    status = os.fstat(file.fileno())
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    digest = _sha256(_Content(identity, file))
    file.seek(0)
    return Artifact(name, status.st_size, digest, media_type(name))


class _Content:
    """A file as the cache of digests knows it: by what tells one content from another."""

    def __init__(self, identity: tuple[int, ...], file: BinaryIO) -> None:
        self._identity = identity
        self.file: BinaryIO | None = file

    def __hash__(self) -> int:
        return hash(self._identity)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Content) and self._identity == other._identity


@lru_cache(maxsize=4096)
def _sha256(content: _Content) -> str:
    file, content.file = content.file, None  # the cache keeps the identity and must not keep the file open
    assert file is not None  # a content that is known is not asked again
    digest = hashlib.sha256()
    while block := file.read(HASHED_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()
