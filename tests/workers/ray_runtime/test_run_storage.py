import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from service.checkpoint_storage import CheckpointStorage, Place, remove
from service.errors import CheckpointsUnavailable
from service.run_files.checkpoints import step_of
from workers.ray_runtime.run_storage import (
    COPY,
    SNAPSHOT,
    keep_copy_of_snapshot,
    mend_snapshot,
)


@pytest.fixture(params=["on disk", "in a store"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    url = None if request.param == "on disk" else request.getfixturevalue("bucket_url")
    return CheckpointStorage(tmp_path, url).of(tmp_path)


def checkpoint_name(step: int, unique: str) -> str:
    return f"step-{step:09d}-{unique}"


def write_checkpoint(run: Place, name: str) -> None:
    (run / name).mkdir(exist_ok=True)
    (run / name / "checkpoint.pt").write_bytes(b"weights")  # a store knows no folder without a file


def remember(run: Place, *steps: int) -> None:
    for step in steps:
        write_checkpoint(run, checkpoint_name(step, "x"))
    named = [{"checkpoint_dir_name": checkpoint_name(step, "x")} for step in steps]
    (run / SNAPSHOT).write_text(json.dumps({"checkpoint_results": named}))


def steps_remembered(run: Place) -> list[int]:
    named = json.loads((run / SNAPSHOT).read_text())["checkpoint_results"]
    return [step_of(Path(entry["checkpoint_dir_name"])) for entry in named]


def test_a_whole_list_is_left_alone(run: Place) -> None:
    remember(run, 20, 40)
    mend_snapshot(run)
    assert steps_remembered(run) == [20, 40]


def test_half_a_list_is_replaced_by_its_last_copy(run: Place) -> None:
    remember(run, 20, 40)
    keep_copy_of_snapshot(run)
    (run / SNAPSHOT).write_text((run / SNAPSHOT).read_text()[:30])
    mend_snapshot(run)
    assert steps_remembered(run) == [20, 40]


def test_a_list_that_names_a_missing_checkpoint_is_not_used(run: Place) -> None:
    remember(run, 20)
    keep_copy_of_snapshot(run)
    remember(run, 40)
    remove(run / checkpoint_name(40, "x"))
    mend_snapshot(run)
    assert steps_remembered(run) == [20]


@pytest.mark.parametrize("good_reads", [0, 1])
def test_a_list_that_cannot_be_read_just_now_is_not_thrown_away(
    run: Place, monkeypatch: pytest.MonkeyPatch, good_reads: int
) -> None:
    remember(run, 20)
    read, reads = type(run).read_bytes, count()

    def fail(file: Any) -> bytes:
        if next(reads) < good_reads:
            return read(file)
        raise OSError("Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(type(run), "read_bytes", fail)
        with pytest.raises((OSError, CheckpointsUnavailable)):
            mend_snapshot(run)
    assert steps_remembered(run) == [20]


def test_where_no_copy_helps_the_run_starts_anew(run: Place) -> None:
    (run / SNAPSHOT).write_text("")
    mend_snapshot(run)
    assert not (run / SNAPSHOT).exists()


def test_half_a_list_is_never_copied(run: Place) -> None:
    remember(run, 20)
    keep_copy_of_snapshot(run)
    (run / SNAPSHOT).write_text("{")
    keep_copy_of_snapshot(run)
    assert json.loads((run / COPY).read_text())["checkpoint_results"]


def test_a_run_that_never_began_needs_no_mending(run: Place) -> None:
    mend_snapshot(run)
    assert not (run / SNAPSHOT).exists()


def test_a_checkpoint_that_was_cut_off_is_removed(run: Place) -> None:
    remember(run, 20)
    write_checkpoint(run, checkpoint_name(40, "half"))
    mend_snapshot(run)
    assert [step_of(path) for path in run.glob("step-*")] == [20]
