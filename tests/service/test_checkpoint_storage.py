import errno
import re
from pathlib import Path

import fsspec
import pytest
from pydantic import ValidationError

from service.checkpoint_storage import CheckpointStorage, asked, check_url, here, move_in, remove, replace_file
from service.errors import CheckpointNotFound, CheckpointsUnavailable
from service.run_files.checkpoints import checkpoint_at, kept_checkpoints
from service.settings import ServiceSettings


@pytest.fixture(params=["in the home folder", "in another folder", "in a store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> CheckpointStorage:
    match request.param:
        case "in the home folder":
            url = None
        case "in another folder":
            url = f"file://{tmp_path / 'elsewhere'}"
        case _:
            url = request.getfixturevalue("bucket_url")
    return CheckpointStorage(tmp_path / "home" / "runs", url)


def write(storage: CheckpointStorage, tmp_path: Path, step: int, content: str, *, training: str = "job") -> None:
    """A checkpoint as a training moves it in; each of a step has another name."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "checkpoint.pt").write_text(content)
    name = f"step-{step:09d}-{content}"
    move_in(folder, storage.of(storage.runs / training) / name)
    assert not folder.exists()


def test_what_is_moved_in_is_found_by_its_step_and_read(storage: CheckpointStorage, tmp_path: Path) -> None:
    for step in (90, 8, 100):
        write(storage, tmp_path, step, f"of{step}")
    place = storage.of(storage.runs / "job")
    assert list(kept_checkpoints(place)) == [100, 90, 8]
    for step, content in (("newest", "of100"), (8, "of8")):
        with here(checkpoint_at(place, step), scratch=tmp_path / "scratch") as folder:  # type: ignore[arg-type]
            assert (folder / "checkpoint.pt").read_text() == content
            assert folder.name.endswith(content)


def test_trainings_do_not_see_each_others(storage: CheckpointStorage, tmp_path: Path) -> None:
    write(storage, tmp_path, 8, "a", training="job")
    write(storage, tmp_path, 9, "b", training="job/runs/oicr-seed0/checkpoints")
    assert list(kept_checkpoints(storage.of(storage.runs / "job"))) == [8]
    assert list(kept_checkpoints(storage.of(storage.runs / "job" / "runs" / "oicr-seed0"))) == [9]
    with pytest.raises(CheckpointNotFound, match="keeps no checkpoint"):
        checkpoint_at(storage.of(storage.runs / "another"), "newest")


def test_a_home_behind_a_link_is_the_same_home(storage: CheckpointStorage, tmp_path: Path) -> None:
    write(storage, tmp_path, 8, "a")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "home")
    linked = CheckpointStorage(link / "runs", storage.url)
    assert list(kept_checkpoints(linked.of(storage.runs / "job"))) == [8]


def test_what_is_removed_is_gone_and_removing_it_again_does_nothing(storage: CheckpointStorage, tmp_path: Path) -> None:
    write(storage, tmp_path, 8, "a")
    write(storage, tmp_path, 8, "b", training="another")
    place = storage.of(storage.runs / "job")
    for _ in range(2):
        remove(place)
        assert kept_checkpoints(place) == {}
    assert list(kept_checkpoints(storage.of(storage.runs / "another"))) == [8]


def test_what_another_process_writes_is_seen_at_once(storage: CheckpointStorage, tmp_path: Path) -> None:
    place = storage.of(storage.runs / "job")
    write(storage, tmp_path, 8, "a")
    assert list(kept_checkpoints(place)) == [8]
    assert len(list(place.iterdir())) == 1
    file = place / "step-000000009-b" / "checkpoint.pt"
    if isinstance(file, Path):
        file.parent.mkdir()
        file.write_bytes(b"b")
    else:  # by a client that shares nothing with ours
        fsspec.filesystem("s3", skip_instance_cache=True).pipe_file(file.path, b"b")
    assert list(kept_checkpoints(place)) == [9, 8]
    assert len(list(place.iterdir())) == 2


def test_a_file_is_replaced(storage: CheckpointStorage, tmp_path: Path) -> None:
    write(storage, tmp_path, 8, "a")
    file = storage.of(storage.runs / "job") / "list.json"
    for content in (b"first", b"second"):
        replace_file(file, content)
        assert file.read_bytes() == content


def test_a_checkpoint_reaches_another_disk_whole(
    storage: CheckpointStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def within_a_disk(path: Path, target: Path) -> Path:
        if path.parent != target.parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", within_a_disk)
    write(storage, tmp_path, 8, "a")
    place = storage.of(storage.runs / "job")
    assert [path.name for path in place.iterdir()] == ["step-000000008-a"]
    with here(checkpoint_at(place, 8)) as folder:
        assert (folder / "checkpoint.pt").read_text() == "a"


def test_a_checkpoint_that_goes_away_meanwhile_is_not_there(storage: CheckpointStorage, tmp_path: Path) -> None:
    write(storage, tmp_path, 8, "a")
    found = checkpoint_at(storage.of(storage.runs / "job"), 8)
    remove(found)
    with pytest.raises(FileNotFoundError), here(found) as folder:
        (folder / "checkpoint.pt").read_bytes()


def test_a_store_that_answers_is_no_error_even_while_it_is_empty(storage: CheckpointStorage) -> None:
    storage.ask()
    assert kept_checkpoints(storage.of(storage.runs / "job")) == {}


def test_a_store_that_refuses_is_not_taken_for_an_empty_one(
    bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = CheckpointStorage(tmp_path, bucket_url)
    write(storage, tmp_path, 8, "a")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Access Denied")

    for listing in ("_lsdir", "_ls", "_find"):
        monkeypatch.setattr(f"s3fs.S3FileSystem.{listing}", refuse)
    with pytest.raises(CheckpointsUnavailable):
        kept_checkpoints(storage.of(tmp_path / "job"))


def test_a_store_that_is_away_is_told(bucket_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    away = CheckpointStorage(tmp_path, f"{bucket_url}/away")
    monkeypatch.setattr("s3fs.S3FileSystem.cachable", False)  # its clients keep the address that they began with
    with pytest.raises(CheckpointsUnavailable, match="SDCN_CHECKPOINTS_URL"):
        kept_checkpoints(away.of(tmp_path / "job"))
    with pytest.raises(CheckpointsUnavailable):
        remove(away.of(tmp_path / "job"))
    with pytest.raises(CheckpointsUnavailable):
        away.ask()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("runs", "neither a URL"),
        ("file://runs", "neither a URL"),
        ("memory://runs", "each process would have its own"),
        ("https://example.org/runs", "read only"),
        ("s3://key:secret@bucket/runs", "leave it out"),
        ("nonsense://runs", "nonsense"),
        ("webhdfs2://x", "webhdfs2"),
    ],
)
def test_a_url_that_cannot_keep_checkpoints_is_refused_when_the_service_starts(url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)) as told:
        ServiceSettings(checkpoints_url=url)
    assert "secret" not in str(told.value)


def test_a_disk_too_full_for_a_copy_is_not_the_stores_fault(bucket_url: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space"), asked(CheckpointStorage(tmp_path, bucket_url).root):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_who_a_url_names_is_no_secret() -> None:
    with pytest.raises(ValueError, match="adlfs"):  # the package, which is not here, and not the name before the @
        check_url("abfs://container@account.dfs.core.windows.net/folder")


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/a/b", "/mnt/checkpoints", "file:///mnt/checkpoints"])
def test_urls_that_can(url: str) -> None:
    assert ServiceSettings(checkpoints_url=url).checkpoint_storage.url == url
