import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sdcn_core.config.data import ScenesSource, VocSource
from sdcn_core.data.class_masks import VOID, check_masks
from sdcn_core.data.datasets import DataRoots, open_annotated_set, prepare_source
from sdcn_core.data.voc import VocFolder
from sdcn_core.data.voc_writer import indexed_png
from sdcn_core.errors import DatasetError
from tests.sdcn_core.data.voc_folders import an_object, write_voc
from tests.shared_material import SHARED

CAT, DOG = an_object("cat"), an_object("dog")
SCENES = ScenesSource(train_images=6, val_images=6, test_images=6, image_size_px=48)
ANIMALS = SHARED / "data" / "voc12_animals"


def with_mask(folder: Path, content: bytes, image_id: str = "a") -> Path:
    path = folder / "SegmentationClass" / f"{image_id}.png"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return folder


def grey_png(indices: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", indices)[1])


def with_palette(png: bytes, colours: bytes) -> bytes:
    start = png.index(b"PLTE")
    chunk = b"PLTE" + colours
    return png[:start] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + png[start + len(chunk) + 4 :]


def mask_of(folder: Path, classes: list[str] | None = None, image_id: str = "a") -> NDArray[np.int16]:
    annotated = VocFolder.at(folder, classes).annotated_set("trainval")
    record = next(record for record in annotated.image_set.records if record.image_id == image_id)
    assert annotated.masks is not None
    return annotated.masks.read(record)


def drawn(*indices: int) -> NDArray[np.uint8]:
    """A mask for a 40 x 30 image, a column of each index, the last one to the right edge."""
    columns = np.minimum(np.arange(40), len(indices) - 1)
    return np.tile(np.array(indices, np.uint8)[columns], (30, 1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_voc(tmp_path, {"a": [CAT, DOG], "b": [DOG]}, classes=("cat", "dog", "kite"))


def test_every_index_of_the_palette_comes_back(folder: Path) -> None:
    names = [f"c{index}" for index in range(1, 255)]
    (folder / "classes.txt").write_text("\n".join(names))
    indices = np.resize(np.arange(256), (30, 40)).astype(np.uint8)
    expected = np.where(indices == 255, VOID, np.where(indices == 0, 254, indices.astype(int) - 1))
    np.testing.assert_array_equal(mask_of(with_mask(folder, indexed_png(indices))), expected)


def test_background_is_the_last_class_and_255_is_void(folder: Path) -> None:
    for encode in (indexed_png, grey_png):
        mask = mask_of(with_mask(folder, encode(drawn(0, 1, 2, 255))))
        assert mask[0, :4].tolist() == [3, 0, 1, VOID]
        assert mask.shape == (30, 40)


def test_an_object_of_a_class_that_is_not_ours_is_background(folder: Path) -> None:
    assert mask_of(with_mask(folder, indexed_png(drawn(1, 2, 3))), ["kite", "cat"])[0, :3].tolist() == [1, 2, 0]


def test_masks_of_a_part_of_voc_count_the_twenty_classes(folder: Path) -> None:
    (folder / "classes.txt").write_text("cat\ndog\n")
    assert mask_of(with_mask(folder, indexed_png(drawn(8, 12, 15, 1))))[0, :4].tolist() == [0, 1, 2, 2]


def test_a_list_beside_the_masks_says_what_their_indices_mean(folder: Path) -> None:
    (folder / "classes.txt").write_text("cat\ndog\n")
    (with_mask(folder, indexed_png(drawn(1, 2, 3))) / "SegmentationClass" / "classes.txt").write_text("dog\nrug\ncat\n")
    assert mask_of(folder)[0, :3].tolist() == [1, 2, 0]


def test_an_image_without_a_mask_has_none_and_a_folder_without_masks_neither(folder: Path) -> None:
    assert VocFolder.at(folder, None).annotated_set("trainval").masks is None
    with_mask(folder, indexed_png(drawn(0)))
    masks = VocFolder.at(folder, None).annotated_set("trainval").masks
    assert masks is not None
    assert ["a" in masks, "b" in masks] == [True, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "neither JPEG nor PNG"),
        (bytes(cv2.imencode(".jpg", drawn(0))[1]), "no PNG of 8-bit indices"),
        (bytes(cv2.imencode(".png", drawn(0).astype(np.uint16))[1]), "no PNG of 8-bit indices"),
        (bytes(cv2.imencode(".png", np.zeros((30, 40, 3), np.uint8))[1]), "no PNG of 8-bit indices"),
        (indexed_png(drawn(0, 1))[:860], "broken or cut off"),
        (with_palette(indexed_png(drawn(0, 1)), bytes(range(256)) * 3), "colour that is not in VOC's palette"),
        (indexed_png(drawn(0)[:20]), "is 40 x 20 pixels, its image 40 x 30"),
        (indexed_png(drawn(0, 4)), "index 4, but the 3 names.*'kite'.*SegmentationClass/classes.txt"),
    ],
    ids=["empty", "jpeg", "16 bit", "colour", "cut off", "other palette", "other size", "no such class"],
)
def test_a_mask_that_cannot_be_used_is_named(folder: Path, content: bytes, message: str) -> None:
    with pytest.raises(DatasetError, match=rf"a\.png.*{message}"):
        mask_of(with_mask(folder, content))


def test_the_masks_of_scenes_fill_their_boxes(tmp_path: Path) -> None:
    roots = DataRoots(tmp_path, tmp_path)
    prepare_source(SCENES, roots, progress=lambda done, total: None)
    annotated = open_annotated_set(SCENES, roots, role="test")
    assert annotated.masks is not None
    for record, truth in zip(annotated.image_set.records, annotated.annotations, strict=True):
        mask = annotated.masks.read(record)
        assert set(np.unique(mask)) <= {*truth.classes.tolist(), 6}
        for (x1, y1, x2, y2), label in zip(truth.boxes.astype(int), truth.classes, strict=True):
            inside = mask[y1:y2, x1:x2] == label
            assert inside.any(axis=0).all()
            assert inside.any(axis=1).all()


@pytest.mark.skipif(not ANIMALS.is_dir(), reason=f"no {ANIMALS}; set SDCN_TEST_SHARED")
def test_real_voc_masks_show_the_classes_of_their_annotations() -> None:
    source = VocSource(path="voc12_animals", train_split="trainval", test_split="test")
    annotated = open_annotated_set(source, DataRoots(ANIMALS.parent, ANIMALS.parent), role="test")
    assert annotated.masks is not None
    with_masks = [
        (record, truth)
        for record, truth in zip(annotated.image_set.records, annotated.annotations, strict=True)
        if record.image_id in annotated.masks
    ]
    assert len(with_masks) == 59
    for record, truth in with_masks:
        assert {*np.unique(annotated.masks.read(record))} - {VOID, 5} == {*truth.classes.tolist()}


def test_each_mask_of_a_split_is_checked_and_images_without_one_are_not(folder: Path) -> None:
    with_mask(folder, grey_png(drawn(0, 1)))
    annotated, told = VocFolder.at(folder, None).annotated_set("trainval"), list[tuple[int, int]]()
    check_masks(annotated, progress=lambda *step: told.append(step))
    assert told == [(0, 1), (1, 1)]
    with_mask(folder, grey_png(drawn(0, 9)), "b")
    annotated = VocFolder.at(folder, None).annotated_set("trainval")
    with pytest.raises(DatasetError, match=r"mask .*b\.png has the index 9"):
        check_masks(annotated, progress=lambda *_: None)


def test_a_split_without_masks_has_none_to_check(folder: Path) -> None:
    told = list[tuple[int, int]]()
    check_masks(VocFolder.at(folder, None).annotated_set("trainval"), progress=lambda *step: told.append(step))
    assert told == [(0, 0)]
