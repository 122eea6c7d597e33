import os
from pathlib import Path

import pytest

from service.errors import LogNotFound
from service.run_files import logs
from service.run_files.folders import RunFiles
from service.run_files.logs import CHUNK_BYTES, find_log, log_tail, read_log
from workers.log_bound import LogBound


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "attempt-1" / "log.txt"
    path.parent.mkdir()
    return path


def test_a_line_that_is_not_finished_waits_for_its_end(log: Path) -> None:
    log.write_bytes(b"one\ntw")
    first = read_log(log, 0, finished=False)
    assert (first.text, first.next_offset) == (b"one\n", 4)
    assert read_log(log, 4, finished=False).text == b""
    assert read_log(log, 4, finished=True).text == b"tw"


@pytest.mark.parametrize("limit", [4, 5, 7, 64, 1000])
def test_pieces_of_any_size_are_together_the_log(log: Path, limit: int) -> None:
    whole = "".join(f"line {number} with ä, 你 and 🚀\n" for number in range(60)) + "no end 🚀🚀🚀🚀🚀"
    log.write_text(whole)
    offset, pieces = 0, []
    while (chunk := read_log(log, offset, limit=limit, finished=True)).text:
        pieces.append(chunk.text.decode())  # no character is cut in two
        offset = chunk.next_offset
    assert "".join(pieces) == whole


def test_a_line_longer_than_a_piece_comes_in_several(log: Path) -> None:
    log.write_bytes(b"x" * (CHUNK_BYTES + 10))
    first = read_log(log, 0, finished=False)
    assert len(first.text) == CHUNK_BYTES
    assert read_log(log, first.next_offset, finished=True).text == b"x" * 10


def test_from_the_end_on_it_begins_with_a_whole_line(log: Path) -> None:
    log.write_bytes(b"first line\nsecond line\nthird\n")
    assert read_log(log, -10, finished=True).text == b"third\n"
    assert read_log(log, -6, finished=True).text == b"third\n"
    assert read_log(log, -1000, finished=True).text.startswith(b"first")


def test_no_log_is_an_empty_one(tmp_path: Path) -> None:
    assert read_log(tmp_path / "none" / "log.txt", 0, finished=True).text == b""


def test_a_link_in_the_place_of_a_log_is_not_followed(tmp_path: Path, log: Path) -> None:
    (tmp_path / "secret").write_text("password\n")
    log.symlink_to(tmp_path / "secret")
    assert read_log(log, 0, finished=True).text == b""


def test_what_was_dropped_from_the_middle_is_counted_and_the_rest_stays_where_it_was(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "UNDROPPED_BYTES", 0)
    line = b"%07d\n"
    log.write_bytes(b"".join(line % number for number in range(64 * 1024)))  # 512 KiB
    head, tail = 64 * 1024, 128 * 1024
    LogBound(log, head_bytes=head, tail_bytes=tail, slack_bytes=64 * 1024).keep()
    assert os.stat(log).st_blocks * 512 <= head + tail + 64 * 1024
    offset, kept, dropped = 0, b"", 0
    while (chunk := read_log(log, offset, finished=True)).next_offset != offset:
        offset, kept, dropped = chunk.next_offset, kept + chunk.text, dropped + chunk.dropped
    assert dropped + len(kept) == os.stat(log).st_size == offset
    assert kept.startswith(line % 0)
    assert kept.endswith(line % (64 * 1024 - 1))
    assert b"\0" not in kept


def test_the_newest_log_is_meant_where_no_attempt_is_named(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    assert find_log(files, None) is None
    for attempt in (1, 2, 10):
        (tmp_path / f"attempt-{attempt}").mkdir()
        (tmp_path / f"attempt-{attempt}" / "log.txt").write_text(f"of {attempt}\n")
    assert find_log(files, None) == 10
    assert log_tail(files) == (10, ["of 10"])
    with pytest.raises(LogNotFound, match=r"1, 2, 10"):
        find_log(files, 3)
