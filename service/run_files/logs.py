"""What the attempts of a job, or of a study's run, have said: attempt-<n>/log.txt, read in whole lines.

A log only grows. Of a very long one the worker drops the middle (workers/log_bound.py): there the file has a hole, all
offsets stay what they were, and a reader is told how much is gone.
"""

import errno
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from service.errors import LogNotFound
from service.run_files.folders import RunFiles, opened

CHUNK_BYTES = 64 * 1024
"""of a log that are read at once, and the longest line that is not cut"""
TAIL_BYTES = 32 * 1024
TAIL_LINES = 40
UNDROPPED_BYTES = 16 * 1024 * 1024
"""a log that is no longer than this has no hole"""


@dataclass(frozen=True)
class LogChunk:
    """A piece of a log."""

    text: bytes
    """whole lines with their ends; but for the last of a log that is finished, and lines of more than CHUNK_BYTES"""
    dropped: int
    """bytes before the text that are no longer kept"""
    next_offset: int
    """where the next piece begins"""
    size: int
    """of the whole log, in bytes"""


def logged_attempts(files: RunFiles) -> list[int]:
    """Numbers of the attempts that have a log, first to last."""
    return [number for number, folder in files.attempts() if (folder / "log.txt").is_file()]


def log_path(files: RunFiles, attempt: int) -> Path:
    return files.path / f"attempt-{attempt}" / "log.txt"


def find_log(files: RunFiles, attempt: int | None) -> int | None:
    """The attempt whose log is meant: this one or, for None, the newest that has any; None where there is none at all.

    Raises:
        LogNotFound: this attempt has left none; the message names those that have.
    """
    known = logged_attempts(files)
    if attempt is None:
        return known[-1] if known else None
    if attempt not in known:
        there = f"attempts with one: {', '.join(map(str, known))}" if known else "no attempt has one yet"
        raise LogNotFound(f"attempt {attempt} has left no log; {there}")
    return attempt


def read_log(path: Path, offset: int, *, limit: int = CHUNK_BYTES, finished: bool) -> LogChunk:
    """At most `limit` bytes of a log, from `offset` on; empty at its end, and where there is no log.

    Args:
        path: of the log.
        offset: in bytes; negative: from the end, then to the next line's beginning.
        limit: at least 4 bytes.
        finished: nothing more will be written, so a last line without an end counts.
    """
    try:
        with opened(path) as file:
            return _read(file, offset, limit, finished=finished)
    except FileNotFoundError:
        return LogChunk(b"", 0, max(0, offset), 0)


def log_tail(files: RunFiles) -> tuple[int, list[str]]:
    """The last lines of the newest log as they were written, and the number of its attempt; 0 where there is no log."""
    attempt = find_log(files, None)
    if attempt is None:
        return 0, []
    chunk = read_log(log_path(files, attempt), -TAIL_BYTES, limit=TAIL_BYTES, finished=True)
    return attempt, chunk.text.decode(errors="replace").splitlines()[-TAIL_LINES:]


def _read(file: BinaryIO, offset: int, limit: int, *, finished: bool) -> LogChunk:
    size = os.fstat(file.fileno()).st_size
    if offset < 0:
        offset = _line_start(file, max(0, size + offset))
    begin, end = offset, size
    if size > UNDROPPED_BYTES:
        begin, end = _data_at(file, offset, size)
    file.seek(begin)
    block = file.read(max(0, min(limit, end - begin)))
    text = block if finished and begin + len(block) == size else _whole_lines(block, limit)
    return LogChunk(text, max(0, begin - offset), begin + len(text), size)


def _line_start(file: BinaryIO, offset: int) -> int:
    """The beginning of the next line, unless one begins here or none does within reach."""
    if offset == 0:
        return 0
    file.seek(offset - 1)
    before = file.read(CHUNK_BYTES + 1)
    found = before.find(b"\n")
    return offset if found < 0 else offset + found


def _whole_lines(block: bytes, limit: int) -> bytes:
    complete, newline, _ = block.rpartition(b"\n")
    if newline:
        return complete + newline
    return _whole_characters(block) if len(block) == limit else b""


def _whole_characters(block: bytes) -> bytes:
    """The block less a UTF-8 character that goes on behind it."""
    for back in range(1, min(4, len(block)) + 1):
        byte = block[-back]
        if byte < 0x80:
            return block
        if byte >= 0xC0:  # the first byte of a character that has more bytes than are here, or just as many
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return block if back >= length else block[:-back]
    return block


def _data_at(file: BinaryIO, offset: int, size: int) -> tuple[int, int]:
    """Where, from `offset` on, the next bytes that are kept begin and end."""
    descriptor = file.fileno()
    try:
        begin = os.lseek(descriptor, offset, os.SEEK_DATA)
        return begin, os.lseek(descriptor, begin, os.SEEK_HOLE)
    except OSError as error:
        if error.errno != errno.ENXIO:  # which says: behind the end, or nothing but a hole up to it
            raise
        return max(offset, size), max(offset, size)
