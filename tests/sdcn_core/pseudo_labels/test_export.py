import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sdcn_core.config.data import CocoSource
from sdcn_core.config.second_stage import PseudoLabelConfig
from sdcn_core.data.coco import CocoFolder
from sdcn_core.data.image_set import ImageRecord, ImageSet
from sdcn_core.data.voc import VocFolder
from sdcn_core.pseudo_labels.export import COCO_MEMBER, write_coco, write_voc
from sdcn_core.pseudo_labels.labels import PseudoLabels
from sdcn_core.structures.annotation import Annotation
from sdcn_core.structures.pseudo_boxes import PseudoBoxes
from tests.sdcn_core.data.voc_folders import an_object
from tests.sdcn_core.data.voc_folders import write_voc as write_folder

SHA = "0123456789abcdef" * 4
FOUND = {
    "a": PseudoBoxes(
        np.array([[0, 0, 40, 30], [1.1, 2.7, 30.3, 29.9]], np.float32),
        np.array([0, 1]),
        np.array([0.9, 0.1], np.float32),
    ),
    "b": PseudoBoxes.none(),
    "c": PseudoBoxes(np.array([[3, 4, 5, 6]], np.float32), np.array([1]), np.array([0.33], np.float32)),
}
LABELS = PseudoLabels(("cat", "dog"), SHA, PseudoLabelConfig(), FOUND)


@pytest.fixture
def image_set(tmp_path: Path) -> ImageSet:
    folder = write_folder(
        tmp_path / "voc", {"a": [an_object("cat"), an_object("dog")], "b": [], "c": [an_object("dog")]}
    )
    return VocFolder.at(folder, None).labelled_set("trainval", labels_from_difficult=False)


def test_our_own_reader_finds_the_same_boxes_in_the_voc_archive(image_set: ImageSet, tmp_path: Path) -> None:
    archive = tmp_path / "voc.zip"
    write_voc(LABELS, image_set, archive)
    with zipfile.ZipFile(archive) as whole:
        whole.extractall(tmp_path / "read")
        assert SHA in whole.read("Annotations/a.xml").decode()
        assert "1 of them without a box" in whole.read("README.txt").decode()
    (tmp_path / "read" / "JPEGImages").symlink_to(tmp_path / "voc" / "JPEGImages")
    folder = VocFolder.at(tmp_path / "read", None)
    assert folder.classes == LABELS.classes
    read = folder.annotated_set("trainval")
    for annotation, (image_id, found) in zip(read.annotations, FOUND.items(), strict=True):
        assert annotation.image_id == image_id
        np.testing.assert_array_equal(annotation.boxes, found.boxes)
        np.testing.assert_array_equal(annotation.classes, found.classes)
        assert not annotation.difficult.any()


def test_the_coco_file_has_the_same_boxes_images_by_name_and_the_detector(image_set: ImageSet, tmp_path: Path) -> None:
    archive = tmp_path / "coco.zip"
    write_coco(LABELS, image_set, archive)
    content = json.loads(zipfile.ZipFile(archive).read(COCO_MEMBER))
    assert content["info"]["model_sha256"] == SHA
    assert [(c["id"], c["name"]) for c in content["categories"]] == [(1, "cat"), (2, "dog")]
    assert [(i["file_name"], i["width"], i["height"]) for i in content["images"]] == [
        (f"{name}.jpg", 40, 30) for name in FOUND
    ]
    ids = {image["id"]: name for image, name in zip(content["images"], FOUND, strict=True)}
    for image_id, name in ids.items():
        own = [a for a in content["annotations"] if a["image_id"] == image_id]
        x, y, w, h = np.array([a["bbox"] for a in own]).reshape(-1, 4).T
        np.testing.assert_array_equal(np.stack([x, y, x + w, y + h], axis=1).astype(np.float32), FOUND[name].boxes)
        assert [a["category_id"] - 1 for a in own] == FOUND[name].classes.tolist()
        assert [a["score"] for a in own] == FOUND[name].scores.tolist()
        assert [a["area"] for a in own] == pytest.approx((w * h).tolist())


def test_our_own_reader_finds_the_same_boxes_in_the_coco_file(image_set: ImageSet, tmp_path: Path) -> None:
    write_coco(LABELS, image_set, tmp_path / "coco.zip")
    with zipfile.ZipFile(tmp_path / "coco.zip") as whole:
        whole.extractall(tmp_path / "voc")
    source = CocoSource(
        path="voc", annotations=COCO_MEMBER, images="JPEGImages", train_split="train", test_split="train"
    )
    folder = CocoFolder.at(tmp_path / "voc", source)
    assert folder.classes == LABELS.classes
    truths = folder.annotated_set("train").truths
    for truth, found in zip(truths, FOUND.values(), strict=True):
        assert isinstance(truth, Annotation)
        np.testing.assert_array_equal(truth.boxes, found.boxes)
        np.testing.assert_array_equal(truth.classes, found.classes)


def test_images_in_folders_have_annotations_of_flat_names_that_say_where_they_are(tmp_path: Path) -> None:
    ids = ("cat/1.jpg", "cat_1.png", "dog/a b.jpg", "plain.v2")
    records = tuple(ImageRecord(name, tmp_path / "images" / name, 30, 40, (0,)) for name in ids)
    labels = PseudoLabels(("cat", "dog"), SHA, PseudoLabelConfig(), dict.fromkeys(ids, FOUND["c"]))
    write_voc(labels, ImageSet("train", ("cat", "dog"), records), tmp_path / "voc.zip")
    archive = zipfile.ZipFile(tmp_path / "voc.zip")
    names = archive.read("ImageSets/Main/train.txt").decode().split()
    assert names == ["cat_1", "cat_1-2", "dog_a_b", "plain.v2"]
    assert {f"Annotations/{name}.xml" for name in names} <= set(archive.namelist())
    assert "<filename>cat/1.jpg</filename>" in archive.read("Annotations/cat_1.xml").decode()


@pytest.mark.parametrize("write", [write_voc, write_coco])
def test_equal_labels_make_equal_archives(write: object, image_set: ImageSet, tmp_path: Path) -> None:
    for name in ("one.zip", "two.zip"):
        write(LABELS, image_set, tmp_path / name)  # type: ignore[operator]
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert not list(tmp_path.glob(".*"))
