import os
from pathlib import Path

import pytest

from service.errors import CheckpointNotFound
from service.run_files.checkpoints import checkpoint_at, checkpoint_name, kept_checkpoints, step_of


def written(folder: Path, step: int, *, at_s: int = 0) -> Path:
    path = folder / checkpoint_name(step)
    path.mkdir(parents=True)
    os.utime(path, (at_s, at_s))
    return path


def test_a_name_tells_the_step_and_is_never_used_twice() -> None:
    assert step_of(Path("/runs/job") / checkpoint_name(4711)) == 4711
    assert checkpoint_name(4711) != checkpoint_name(4711)


@pytest.mark.parametrize("below", [".", "checkpoints"])
def test_checkpoints_are_found_wherever_a_training_keeps_them(tmp_path: Path, below: str) -> None:
    paths = {step: written(tmp_path / below, step) for step in (90, 8, 100)}
    assert list(kept_checkpoints(tmp_path)) == [100, 90, 8]
    assert checkpoint_at(tmp_path, "newest") == paths[100]
    assert checkpoint_at(tmp_path, 8) == paths[8]


def test_of_a_step_written_twice_the_later_one_counts(tmp_path: Path) -> None:
    later = written(tmp_path, 8, at_s=2)
    written(tmp_path, 8, at_s=1)
    assert checkpoint_at(tmp_path, 8) == later


def test_a_step_that_is_not_kept_is_told_with_those_that_are(tmp_path: Path) -> None:
    for step in (8, 90):
        written(tmp_path, step)
    with pytest.raises(CheckpointNotFound, match="keeps those of 8, 90"):
        checkpoint_at(tmp_path, 10)


@pytest.mark.parametrize("step", ["newest", 8])
def test_a_training_without_checkpoints_is_told(tmp_path: Path, step: int) -> None:
    with pytest.raises(CheckpointNotFound, match="keeps no checkpoint"):
        checkpoint_at(tmp_path / "none", step)
