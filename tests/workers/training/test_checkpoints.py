import errno
from pathlib import Path

import pytest
import torch

from sdcn_core.config.presets import tiny
from sdcn_core.errors import CheckpointError
from sdcn_core.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from service.checkpoint_storage import CheckpointStorage, Place
from service.run_files.checkpoints import step_of
from workers.training.checkpoints import KeptCheckpoints


@pytest.fixture(params=["on disk", "in a store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    url = None if request.param == "on disk" else request.getfixturevalue("bucket_url")
    return CheckpointStorage(tmp_path, url).of(tmp_path / "checkpoints")


@pytest.fixture
def kept(folder: Place, tmp_path: Path) -> KeptCheckpoints:
    return KeptCheckpoints(folder, keep=2, scratch=tmp_path / "scratch")


def written(tmp_path: Path, step: int, untrained: dict[str, int] | None = None) -> Path:
    folder = tmp_path / "work" / f"checkpoint-{step}"
    save_checkpoint(Checkpoint(tiny().digest(), ["disc"], step, 0, {}, {}, untrained), folder)
    return folder


def has_one(kept: KeptCheckpoints) -> bool:
    with kept.newest(tiny()) as newest:
        return newest is not None


def test_the_newest_two_stay(kept: KeptCheckpoints, folder: Place, tmp_path: Path) -> None:
    for step in (8, 90, 100):
        kept.take(written(tmp_path, step), step)
    assert sorted(step_of(path) for path in folder.iterdir()) == [90, 100]
    with kept.newest(tiny()) as newest:
        assert newest is not None
        assert step_of(newest) == 100
    assert not list((tmp_path / "scratch").glob("*")), "a copy from a store lives no longer than it is needed"


def test_of_one_step_written_again_the_last_is_the_newest(kept: KeptCheckpoints, tmp_path: Path) -> None:
    for number in range(4):
        kept.take(written(tmp_path, 8, untrained={"number": number}), 8)
    with kept.newest(tiny()) as newest:
        assert newest is not None
        assert load_checkpoint(newest, tiny(), device=torch.device("cpu")).untrained == {"number": 3}


def test_before_the_first_there_is_none(kept: KeptCheckpoints) -> None:
    assert not has_one(kept)


@pytest.mark.parametrize("content", [b"", b"half a file", b"\x80\x02}q\x00."])
def test_where_all_are_damaged_there_is_none(
    kept: KeptCheckpoints, folder: Place, tmp_path: Path, content: bytes
) -> None:
    kept.take(written(tmp_path, 8), 8)
    (checkpoint,) = list(folder.iterdir())
    (checkpoint / "checkpoint.pt").write_bytes(content)
    assert not has_one(kept)
    assert not checkpoint.exists()


def test_another_experiments_are_removed(kept: KeptCheckpoints, folder: Place, tmp_path: Path) -> None:
    kept.take(written(tmp_path, 8), 8)
    with kept.newest(tiny().with_overrides({"seed": 1})) as newest:
        assert newest is None
    assert list(folder.glob("*")) == []


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.EMFILE, "Too many open files"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes."),
    ],
)
def test_one_that_the_machine_cannot_read_just_now_is_kept(
    kept: KeptCheckpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    kept.take(written(tmp_path, 8), 8)

    def load(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", load)
        with pytest.raises((MemoryError, CheckpointError)):
            has_one(kept)
    assert has_one(kept)
