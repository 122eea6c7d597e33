import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.connection import wait
from pathlib import Path

import cv2
import numpy as np
import pytest

from sdcn_core.config.data import SelectiveSearchConfig
from sdcn_core.data import proposals
from sdcn_core.data.datasets import DataRoots
from sdcn_core.data.image_set import ImageRecord, ImageSet
from sdcn_core.data.proposals import ProposalStore, compute_proposals
from sdcn_core.errors import DatasetError
from tests.sdcn_core.data.voc_folders import write_image


def images(folder: Path, count: int) -> ImageSet:
    folder.mkdir(exist_ok=True)
    records = []
    for number in range(count):
        path = folder / f"image{number}.png"
        write_image(path, width=40, height=30, seed=number)
        records.append(ImageRecord(path.stem, path, 30, 40, (0,)))
    return ImageSet("train", ("thing",), tuple(records))


def compute(
    image_set: ImageSet, cache: Path, config: SelectiveSearchConfig | None = None, *, processes: int = 1
) -> ProposalStore:
    config = config or SelectiveSearchConfig()
    roots = DataRoots(cache, cache)
    return compute_proposals(image_set, config, roots=roots, processes=processes, progress=lambda done, total: None)


def cached_files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def test_proposals_are_distinct_boxes_inside_the_image(tmp_path: Path) -> None:
    boxes = compute(images(tmp_path, 1), tmp_path / "cache")["image0"]
    assert boxes.dtype == np.float32
    assert len(boxes) > 3
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] < boxes[:, 2:]).all()
    assert (boxes[:, 2:] <= [40, 30]).all()
    assert len(np.unique(boxes, axis=0)) == len(boxes)


def test_the_limit_keeps_the_first_in_the_searchs_own_order(tmp_path: Path) -> None:
    every = compute(images(tmp_path, 1), tmp_path / "cache")["image0"]
    some = compute(images(tmp_path, 1), tmp_path / "cache", SelectiveSearchConfig(limit=3))["image0"]
    assert some.tolist() == every[:3].tolist()


def test_boxes_with_a_short_side_are_dropped_where_asked(tmp_path: Path) -> None:
    boxes = compute(images(tmp_path, 1), tmp_path / "cache", SelectiveSearchConfig(min_side_px=10))["image0"]
    assert (boxes[:, 2:] - boxes[:, :2]).min() >= 10


def test_boxes_of_a_search_on_the_shrunk_image_are_in_pixels_of_the_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:, 40:] = 255
    cv2.imwrite(str(path), pixels)
    image_set = ImageSet("train", ("thing",), (ImageRecord("half", path, 60, 80, (0,)),))
    boxes = compute(image_set, tmp_path / "cache", SelectiveSearchConfig(max_image_side_px=40))["half"]
    assert [40, 0, 80, 60] in boxes.tolist()
    assert boxes.max(axis=0).tolist()[2:] == [80, 60]


def test_the_same_image_has_the_same_proposals_in_the_same_order_whoever_searches(tmp_path: Path) -> None:
    image_set = images(tmp_path, 3)
    here, elsewhere = compute(image_set, tmp_path / "a"), compute(image_set, tmp_path / "b", processes=2)
    assert all(here[r.image_id].tolist() == elsewhere[r.image_id].tolist() for r in image_set.records)
    assert multiprocessing.active_children() == []


def test_what_the_cache_holds_is_not_searched_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image_set = images(tmp_path, 2)
    first = compute(image_set, tmp_path / "cache")
    monkeypatch.setattr(proposals, "search_file", lambda *_, **__: pytest.fail("searched again"))
    again = compute(image_set, tmp_path / "cache")
    assert again["image1"].tolist() == first["image1"].tolist()


def test_other_pixels_or_settings_are_not_served_from_the_cache(tmp_path: Path) -> None:
    image_set = images(tmp_path, 1)
    before = compute(image_set, tmp_path / "cache")["image0"]
    assert len(compute(image_set, tmp_path / "cache", SelectiveSearchConfig(limit=1))["image0"]) == 1
    write_image(image_set.records[0].path, width=40, height=30, seed=99)
    assert compute(image_set, tmp_path / "cache")["image0"].tolist() != before.tolist()


@pytest.mark.parametrize("content", [b"", b"rubbish", b"PK\x03\x04rubbish", b"\x93NUMPY\x01\x00v\x00{'descr"])
def test_a_damaged_cache_file_is_made_again(tmp_path: Path, content: bytes) -> None:
    image_set = images(tmp_path, 1)
    first = compute(image_set, tmp_path / "cache")["image0"]
    (kept,) = cached_files(tmp_path / "cache")
    kept.write_bytes(content)
    assert compute(image_set, tmp_path / "cache")["image0"].tolist() == first.tolist()
    assert np.load(kept, allow_pickle=False).tolist() == first.tolist()


def test_an_image_left_without_proposals_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"image0\.png: Selective Search finds no box.*min_side_px"):
        compute(images(tmp_path, 1), tmp_path / "cache", SelectiveSearchConfig(min_side_px=31))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_broken_image_is_named_wherever_it_is_searched(tmp_path: Path, processes: int) -> None:
    image_set = images(tmp_path, 3)
    path = image_set.records[1].path
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DatasetError, match=r"image1\.png is broken or cut off"):
        compute(image_set, tmp_path / "cache", processes=processes)
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("raised", [KeyboardInterrupt, RuntimeError])
def test_a_search_that_is_cancelled_leaves_no_process_and_no_half_file(
    tmp_path: Path, raised: type[BaseException]
) -> None:
    def cancel(done: int, total: int) -> None:
        if done:
            raise raised

    image_set = images(tmp_path, 4)
    with pytest.raises(raised):
        compute_proposals(
            image_set,
            SelectiveSearchConfig(),
            roots=DataRoots(tmp_path, tmp_path / "cache"),
            processes=2,
            progress=cancel,
        )
    assert multiprocessing.active_children() == []
    assert all(len(np.load(path, allow_pickle=False)) for path in cached_files(tmp_path / "cache"))


def test_progress_counts_up_to_all_images(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    compute_proposals(
        images(tmp_path, 3),
        SelectiveSearchConfig(),
        roots=DataRoots(tmp_path, tmp_path / "cache"),
        processes=1,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


PARENT = """
import multiprocessing, sys
from pathlib import Path
from tests.sdcn_core.data.test_proposals import images
from sdcn_core.config.data import SelectiveSearchConfig
from sdcn_core.data.datasets import DataRoots
from sdcn_core.data.proposals import compute_proposals

def stay(done, total):
    if done:
        print(multiprocessing.active_children()[0].pid, flush=True)
        sys.stdin.read()

if __name__ == "__main__":
    here = Path(sys.argv[1])
    roots = DataRoots(here, here / "cache")
    compute_proposals(images(here, 3), SelectiveSearchConfig(), roots=roots, processes=2, progress=stay)
"""


def test_a_search_process_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        try:
            os.kill(parent.pid, signal.SIGKILL)
            # A pidfd becomes readable when its process has ended.
            assert wait([child], timeout=20) == [child]
        finally:
            os.close(child)


def test_search_processes_need_no_torch() -> None:
    code = "import sys, sdcn_core.data.selective_search; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_cache_of_old_is_found_again(tmp_path: Path) -> None:
    # What version 0.1 called the search of the default settings.
    compute(images(tmp_path, 1), tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache" / "proposals").iterdir()] == ["e3d7fa05749f"]
