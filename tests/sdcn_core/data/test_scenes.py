import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from defusedxml import ElementTree
from numpy.typing import NDArray

from sdcn_core.config.data import SceneLayout, ScenesSource, SelectiveSearchConfig
from sdcn_core.data.datasets import DataRoots, open_annotated_set, open_train_set, prepare_source
from sdcn_core.data.proposals import compute_proposals
from sdcn_core.data.scenes import SCENE_CLASSES, scenes_folder, write_scenes
from sdcn_core.errors import DatasetError

SMALL = ScenesSource(train_images=12, val_images=6, test_images=7)
VOC_COLOURS = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]


def silent(done: int, total: int) -> None:
    pass


def write(cache: Path, source: ScenesSource = SMALL) -> Path:
    return write_scenes(source, cache=cache, progress=silent)


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("cache")
    write(cache)
    write(cache, SMALL.with_overrides({"layout": "halo"}))
    return cache


@pytest.fixture(params=list(SceneLayout))
def folder(cache: Path, request: pytest.FixtureRequest) -> Path:
    return scenes_folder(SMALL.with_overrides({"layout": request.param}), cache=cache)


def label_map(folder: Path, image_id: str, kind: str = "SegmentationClass") -> NDArray[np.int64]:
    """Indices (H, W) back from the palette's colours."""
    bgr = cv2.imread(str(folder / kind / f"{image_id}.png"))
    assert bgr is not None
    is_colour = (bgr[:, :, None, ::-1] == np.array(VOC_COLOURS)).all(axis=3)  # (H, W, 7)
    assert is_colour.any(axis=2).all()
    return is_colour.argmax(axis=2)


def test_everything_follows_from_the_seed(cache: Path, tmp_path: Path) -> None:
    assert digests(write(tmp_path)) == digests(write(cache))
    other = write(tmp_path, SMALL.with_overrides({"seed": 1}))
    assert digests(other)["JPEGImages/train_000000.jpg"] != digests(write(cache))["JPEGImages/train_000000.jpg"]


def test_a_larger_split_begins_with_the_same_scenes(cache: Path, tmp_path: Path) -> None:
    larger = digests(write(tmp_path, SMALL.with_overrides({"train_images": 14})))
    small = digests(write(cache))
    assert all(larger[name] == small[name] for name in small if not name.startswith("ImageSets"))


def test_the_layouts_differ(cache: Path) -> None:
    parts, halo = (scenes_folder(SMALL.with_overrides({"layout": layout}), cache=cache) for layout in SceneLayout)
    assert digests(parts)["JPEGImages/test_000000.jpg"] != digests(halo)["JPEGImages/test_000000.jpg"]


def test_the_folder_is_one_whatever_splits_are_chosen(cache: Path) -> None:
    chosen = SMALL.with_overrides({"train_split": "trainval", "test_split": "val"})
    assert scenes_folder(chosen, cache=cache) == scenes_folder(SMALL, cache=cache)
    roots = DataRoots(cache, cache)
    assert len(open_train_set(chosen, roots, labels_from_difficult=False).records) == 18
    assert len(open_annotated_set(chosen, roots, role="test").annotations) == 6


def test_the_smallest_split_has_every_class(cache: Path) -> None:
    annotations = open_annotated_set(SMALL.with_overrides({"test_split": "val"}), DataRoots(cache, cache), role="test")
    assert annotations.image_set.classes == SCENE_CLASSES
    assert {int(label) for found in annotations.annotations for label in found.classes} == set(range(6))


def test_every_box_is_tight_around_what_is_seen_of_its_class(folder: Path) -> None:
    for image_id in (folder / "ImageSets/Main/test.txt").read_text().split():
        labels, objects = (label_map(folder, image_id, kind) for kind in ("SegmentationClass", "SegmentationObject"))
        boxes = boxes_in(folder, image_id)
        assert len(boxes) == objects.max() >= 1
        for number, (name, box) in enumerate(boxes, start=1):
            rows, columns = np.nonzero(objects == number)
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == box
            assert set(labels[rows, columns].tolist()) == {SCENE_CLASSES.index(name) + 1}
        assert ((labels > 0) == (objects > 0)).all()


def boxes_in(folder: Path, image_id: str) -> list[tuple[str, tuple[int, ...]]]:
    root = ElementTree.fromstring((folder / "Annotations" / f"{image_id}.xml").read_bytes())
    found: list[tuple[str, tuple[int, ...]]] = []
    for element in root.findall("object"):
        x1, y1, x2, y2 = (int(element.findtext(f"bndbox/{tag}") or "") for tag in ("xmin", "ymin", "xmax", "ymax"))
        found.append((element.findtext("name") or "", (x1 - 1, y1 - 1, x2, y2)))
    return found


def test_the_lists_are_vocs(folder: Path) -> None:
    lists = folder / "ImageSets"
    ids = (lists / "Main/test.txt").read_text().split()
    assert len(ids) == 7
    assert (lists / "Segmentation/test.txt").read_text().split() == ids
    for name in SCENE_CLASSES:
        rows = [line.split() for line in (lists / f"Main/{name}_test.txt").read_text().splitlines()]
        assert [image_id for image_id, _ in rows] == ids
        assert [flag for _, flag in rows] == [
            "1" if name in {found for found, _ in boxes_in(folder, image_id)} else "-1" for image_id in ids
        ]
    assert (folder / "classes.txt").read_text().split() == list(SCENE_CLASSES)


def test_scenes_that_are_there_are_not_drawn_again(cache: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in write(cache).rglob("*")}
    seen: list[tuple[int, int]] = []
    prepare_source(SMALL, DataRoots(cache, cache), progress=lambda done, total: seen.append((done, total)))
    assert {path: path.stat().st_mtime_ns for path in write(cache).rglob("*")} == before
    assert seen == [(25, 25)]


def test_two_who_write_the_same_scenes_at_once_get_the_same_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(write, [tmp_path, tmp_path])
    assert first == second
    assert [path.name for path in (tmp_path / "scenes").iterdir()] == [first.name]
    assert len(open_train_set(SMALL, DataRoots(tmp_path, tmp_path), labels_from_difficult=False).records) == 12


def test_a_generation_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    def cancel(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenes(SMALL, cache=tmp_path, progress=cancel)
    assert list((tmp_path / "scenes").iterdir()) == []


def test_scenes_that_nobody_wrote_yet_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not generated yet: call prepare_source"):
        open_train_set(SMALL, DataRoots(tmp_path, tmp_path), labels_from_difficult=False)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "scenes").write_text("a file where the folder should be")
    with pytest.raises(DatasetError, match=str(tmp_path)):
        write(tmp_path)


@pytest.mark.parametrize("layout", list(SceneLayout))
def test_proposals_find_nearly_every_object_whole(cache: Path, layout: SceneLayout) -> None:
    source = SMALL.with_overrides({"layout": layout})
    found = open_annotated_set(source, DataRoots(cache, cache), role="train")
    roots = DataRoots(cache, cache)
    store = compute_proposals(found.image_set, SelectiveSearchConfig(), roots=roots, processes=1, progress=silent)
    best = [max(_iou(box, other) for other in store[one.image_id]) for one in found.annotations for box in one.boxes]
    assert len(best) >= 15
    assert sum(overlap <= 0.5 for overlap in best) <= 1


def _iou(box: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    inside = np.prod(np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None))
    return float(inside / (np.prod(box[2:] - box[:2]) + np.prod(other[2:] - other[:2]) - inside))
