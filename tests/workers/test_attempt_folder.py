import os
from pathlib import Path

import pytest

from workers.attempt_folder import write_atomically


def test_a_text_is_written_whole_and_its_name_is_on_the_disk_when_that_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "found.json"
    synced_after_it_was_there = []

    def fsync(descriptor: int) -> None:
        if path.exists():
            synced_after_it_was_there.append(os.path.samestat(os.fstat(descriptor), tmp_path.stat()))

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(path, "text")
    assert path.read_text() == "text"
    assert synced_after_it_was_there == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]
