"""Downloading what a job has left, also after a connection broke in the middle."""

import fcntl
import hashlib
import re
from pathlib import Path
from typing import BinaryIO

from service.client.connection import Connection
from service.client.errors import BrokenDownload, ServerUnreachable
from service.jobs.answers import ArtifactRead

TRIES = 3
BLOCK_BYTES = 1024 * 1024


class Downloads(Connection):
    """The part of the client that fetches files."""

    def fetch(self, artifact: ArtifactRead, folder: Path) -> Path:
        """Download an artifact into the folder, under its name; it is there whole or not at all.

        A connection that breaks is taken up where it broke. What has arrived when all tries are used up stays in a
        hidden file, from which a later call goes on.

        Raises:
            BrokenDownload: what arrived is not what was listed: it was replaced meanwhile; or another process is
                downloading it into the same folder.
            OSError: it cannot be written.
        """
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.\-]*", artifact.name) is None:
            raise BrokenDownload(f"{artifact.name!r} is no name for a file here")
        target = folder / artifact.name
        partial = target.with_name(f".{target.name}.{artifact.sha256[:16]}.part")
        with partial.open("a+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise BrokenDownload(f"another process is downloading {artifact.name} into {folder}") from None
            try:
                self._get(artifact, file)
            finally:
                if file.seek(0, 2) == 0 < artifact.num_bytes:
                    partial.unlink()
            if _sha256(file) != artifact.sha256:
                partial.unlink()
                raise BrokenDownload(
                    f"{artifact.name} is not what was listed: it may have been replaced; fetch it again"
                )
            partial.replace(target)
        return target

    def _get(self, artifact: ArtifactRead, file: BinaryIO) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                self._go_on(artifact, file)
                return
            except ServerUnreachable:
                if tries_left == 0:
                    raise

    def _go_on(self, artifact: ArtifactRead, file: BinaryIO) -> None:
        """Append what is missing; all of it anew where the service's file is another one by now."""
        there = file.seek(0, 2)
        if there >= artifact.num_bytes:
            return
        wanted = {"Range": f"bytes={there}-", "If-Range": f'"{artifact.sha256}"'} if there else {}
        with self._streamed(artifact.url, headers=wanted) as answer:
            if there and answer.headers.get("Content-Range", "").partition("-")[0] != f"bytes {there}":
                file.truncate(0)
            for block in answer.iter_bytes():
                file.write(block)


def _sha256(file: BinaryIO) -> str:
    file.flush()
    file.seek(0)
    digest = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()
