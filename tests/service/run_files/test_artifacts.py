import hashlib
import os
from pathlib import Path

import pytest

from service.errors import ArtifactNotFound, RunNotFound
from service.run_files.artifacts import artifact_names, list_artifacts, open_artifact
from service.run_files.folders import RunFiles, job_files, run_folders

OUTSIDE = ["../secret", "..", ".", "", ".hidden", "a/b", "a\\b", "/etc/passwd", "a\x00b", "é.png", "a" * 200, "a b"]


@pytest.fixture
def files(tmp_path: Path) -> RunFiles:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "job" / "artifacts").mkdir(parents=True)
    return RunFiles(tmp_path / "job")


def test_artifacts_are_listed_with_their_digests(files: RunFiles) -> None:
    (files.artifacts / "b.png").write_bytes(b"picture")
    (files.artifacts / "a.pt").write_bytes(b"")
    first, second = list_artifacts(files)
    assert (first.name, first.num_bytes, first.media_type) == ("a.pt", 0, "application/octet-stream")
    assert (second.sha256, second.media_type) == (hashlib.sha256(b"picture").hexdigest(), "image/png")


def test_a_file_that_was_replaced_has_another_digest(files: RunFiles) -> None:
    for content in (b"one", b"two"):
        (files.artifacts / "new").write_bytes(content)
        (files.artifacts / "new").replace(files.artifacts / "a.json")
        assert list_artifacts(files)[0].sha256 == hashlib.sha256(content).hexdigest()


def test_a_reader_keeps_what_it_opened(files: RunFiles) -> None:
    path = files.artifacts / "a.json"
    path.write_bytes(b"old")
    opened = open_artifact(files, "a.json")
    (files.artifacts / "new").write_bytes(b"replaced")
    (files.artifacts / "new").replace(path)
    with opened.file as file:
        assert file.read() == b"old"
    assert opened.artifact.num_bytes == 3


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_is_none_opens_nothing(files: RunFiles, name: str) -> None:
    with pytest.raises(ArtifactNotFound):
        open_artifact(files, name)


def test_links_pipes_and_folders_are_no_artifacts(files: RunFiles, tmp_path: Path) -> None:
    (files.artifacts / "link").symlink_to(tmp_path / "secret")
    (files.artifacts / "folder").mkdir()
    os.mkfifo(files.artifacts / "pipe")
    assert artifact_names(files) == []
    for name in ("link", "folder", "pipe"):
        with pytest.raises(ArtifactNotFound):
            open_artifact(files, name)


def test_a_folder_of_artifacts_that_is_a_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_bytes(b"x")
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "artifacts").symlink_to(tmp_path / "elsewhere")
    files = RunFiles(tmp_path / "job")
    assert artifact_names(files) == []
    with pytest.raises(ArtifactNotFound):
        open_artifact(files, "a.png")


def test_a_job_that_left_nothing_has_no_artifacts(tmp_path: Path) -> None:
    assert list_artifacts(RunFiles(tmp_path / "none")) == ()


@pytest.mark.parametrize("name", [*OUTSIDE, "none", ".shared-classifier-ab12", "link"])
def test_a_run_that_is_none_is_not_found(tmp_path: Path, name: str) -> None:
    runs = tmp_path / "job" / "runs"
    (runs / ".shared-classifier-ab12").mkdir(parents=True)
    (runs / "link").symlink_to(tmp_path)
    with pytest.raises(RunNotFound):
        job_files(tmp_path, "job", name)


def test_runs_are_the_folders_with_a_name_of_a_run(tmp_path: Path) -> None:
    runs = tmp_path / "job" / "runs"
    for name in ("oicr-seed1", "oicr-seed0", ".shared-x"):
        (runs / name).mkdir(parents=True)
    (runs / "file").write_text("")
    (runs / "link").symlink_to(runs / "oicr-seed0")
    assert list(run_folders(tmp_path, "job")) == ["oicr-seed0", "oicr-seed1"]
    assert run_folders(tmp_path, "none") == {}
