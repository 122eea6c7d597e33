from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sdcn_core.config.data import CocoSource, DataSource, LabelsSource, ScenesSource, VocSource
from sdcn_core.data import checking
from sdcn_core.data.checking import SourceReport, check_source
from sdcn_core.data.counts import ClassCounts, Extent
from sdcn_core.data.datasets import DataRoots, prepare_source
from sdcn_core.data.images import read_image
from sdcn_core.data.read_images import ReadImages
from sdcn_core.errors import DatasetError
from tests.sdcn_core.data.test_coco import write_coco
from tests.sdcn_core.data.test_labels import write_images, write_tables
from tests.sdcn_core.data.voc_folders import an_annotation, an_object, write_image, write_voc

CAT, DOG = an_object("cat"), an_object("dog")
HARD_DOG = an_object("dog", difficult="<difficult>1</difficult>")
SOURCE = VocSource(path="set")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images to learn from, one without a label; two to be judged on."""
    write_voc(tmp_path / "set", {"t1": [CAT, HARD_DOG], "t2": [DOG]}, split="test")
    return write_voc(tmp_path / "set", {"a": [CAT, CAT, DOG], "b": [DOG, HARD_DOG], "c": []})


def check(
    folder: Path,
    source: DataSource = SOURCE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SourceReport:
    roots = DataRoots(folder.parent, folder.parent / "cache")
    prepare_source(source, roots, progress=lambda done, total: None)
    with ReadImages(folder.parent / "read.jsonl") as read:
        return check_source(source, roots, read=read, threads=2, progress=progress)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def test_images_and_objects_are_counted_by_class_and_split(folder: Path) -> None:
    report = check(folder)
    assert (report.problems, report.notes, report.unusable, report.classes) == ((), (), 0, ("cat", "dog"))
    train, test = report.splits
    assert (train.name, train.images, train.without_label, train.masks) == ("trainval", 3, 1, 0)
    assert (train.objects, train.difficult, train.objects_per_image) == (5, 1, pytest.approx(5 / 3))
    assert train.classes == {"cat": ClassCounts(1, 2, 0, 2.0), "dog": ClassCounts(2, 3, 1, 1.5)}
    assert test.classes == {"cat": ClassCounts(1, 1, 0, 1.0), "dog": ClassCounts(1, 2, 1, 1.0)}  # t1 has no dog's label


def test_sizes_are_told_from_smallest_to_largest(folder: Path) -> None:
    write_image(folder / "JPEGImages" / "a.jpg", width=60, height=90)
    xml = folder / "Annotations" / "a.xml"
    xml.write_text(
        xml.read_text().replace("<width>40</width><height>30</height>", "<width>60</width><height>90</height>")
    )
    train = check(folder).splits[0]
    assert (train.width_px, train.height_px) == (Extent(40, 40.0, 60), Extent(30, 30.0, 90))


def test_every_broken_image_and_annotation_is_named_and_left_out(folder: Path) -> None:
    cut(folder / "JPEGImages" / "a.jpg")  # its header is whole: only reading it all shows it
    (folder / "JPEGImages" / "b.jpg").write_bytes(b"no image")
    (folder / "Annotations" / "t2.xml").write_text("<annotation>")
    (folder / "JPEGImages" / "t1.jpg").unlink()
    report = check(folder)
    assert report.unusable == 4
    for name in ("a.jpg is broken or cut off", "b.jpg is neither JPEG nor PNG", "t2.xml", "t1.jpg"):
        assert any(name in problem for problem in report.problems), name
    assert [(split.name, split.images) for split in report.splits] == [("trainval", 1), ("test", 0)]
    assert (report.splits[1].width_px, report.splits[1].objects_per_image) == (None, None)


def test_of_very_many_broken_images_the_first_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "MAX_TOLD", 2)
    for name in "abc":
        (folder / "JPEGImages" / f"{name}.jpg").write_bytes(b"")
    report = check(folder)
    assert report.unusable == 3
    assert len(report.problems) == 3
    assert report.problems[-1] == "1 more image cannot be used"


def test_splits_that_the_source_does_not_name_are_counted_and_only_noted(folder: Path) -> None:
    write_voc(folder, {"v": [CAT]}, split="val")
    (folder / "JPEGImages" / "v.jpg").write_bytes(b"")
    (folder / "ImageSets" / "Main" / "odd.txt").write_text("no id, this\n")
    (folder / "ImageSets" / "Main" / "no name of a split.txt").write_text("a\n")
    report = check(folder)
    assert [split.name for split in report.splits] == ["trainval", "test", "val"]
    assert (report.problems, report.unusable) == ((), 0)
    assert len(report.notes) == 2
    assert "odd.txt, line 1" in report.notes[0]
    assert "v.jpg" in report.notes[1]


def test_a_split_that_is_not_there_is_told_with_those_that_are(folder: Path) -> None:
    report = check(folder, VocSource(path="set", train_split="train"))
    (problem,) = report.problems
    assert "train.txt does not exist: name a split that is there (test, trainval)" in problem
    assert [split.name for split in report.splits] == ["test", "trainval"]


def test_a_class_without_an_image_to_learn_from_is_a_problem(folder: Path) -> None:
    report = check(folder, VocSource(path="set", classes=("cat", "dog", "cow")))
    (problem,) = report.problems
    assert "class 'cow' has no image in split 'trainval'" in problem
    assert report.splits[0].classes["cow"] == ClassCounts(0, 0, 0, None)


def test_a_class_whose_objects_are_all_difficult_is_noted_with_the_setting_that_helps(folder: Path) -> None:
    write_voc(folder, {"a": [CAT], "b": [HARD_DOG], "c": []})
    report = check(folder)
    assert report.problems == ()
    assert "set data.labels_from_difficult" in report.notes[0]


def test_a_test_split_without_an_object_that_counts_is_a_problem(folder: Path) -> None:
    write_voc(folder, {"t1": [HARD_DOG], "t2": []}, split="test")
    assert "split 'test' has no object that counts" in check(folder).problems[0]


def test_a_test_split_without_annotation_files_is_read_and_noted(folder: Path) -> None:
    for name in ("t1", "t2"):
        (folder / "Annotations" / f"{name}.xml").unlink()
    report = check(folder)
    assert (report.problems, report.splits[1].images, report.splits[1].objects) == ((), 2, None)
    assert report.notes == ("split 'test' has no boxes, so AP cannot be counted on it",)
    (folder / "JPEGImages" / "t1.jpg").unlink()
    assert "t1.jpg" in check(folder).problems[0]


def test_images_that_are_learnt_and_judged_are_noted(folder: Path) -> None:
    (folder / "ImageSets" / "Main" / "test.txt").write_text("t1\na\n")
    report = check(folder)
    assert (report.problems, len(report.notes)) == ((), 1)
    assert report.notes[0].startswith("1 of the images of split 'test' are in 'trainval' too")


def test_masks_are_counted_in_each_split_and_a_broken_one_to_be_judged_by_is_a_problem(folder: Path) -> None:
    masks = folder / "SegmentationClass"
    masks.mkdir()
    for name in ("a", "b", "t1"):
        write_image(masks / f"{name}.png", width=40, height=30)  # three channels, no indices
    report = check(folder)
    assert [split.masks for split in report.splits] == [2, 1]
    assert len(report.problems) == 1
    assert "t1.png is no PNG of 8-bit indices" in report.problems[0]


def test_an_image_of_another_size_than_the_data_set_says_is_a_problem(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "read_image", lambda path: np.zeros((3, 4, 3), np.uint8))
    assert "a.jpg is 4 x 3 pixels, 40 x 30 in the data set" in check(folder).problems[0]


def test_an_image_of_two_splits_is_read_once_and_told_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "ImageSets" / "Main" / "train.txt").write_text("a\nb\n")
    cut(folder / "JPEGImages" / "a.jpg")
    seen: list[str] = []
    monkeypatch.setattr(checking, "read_image", lambda path: seen.append(path.stem) or read_image(path))
    report = check(folder)
    assert sorted(seen) == ["a", "b", "c", "t1", "t2"]
    assert sum("a.jpg" in sentence for sentence in report.problems + report.notes) == 1


def test_a_later_check_goes_on_where_one_was_cut_off(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class CutOff(Exception):
        pass

    def stop_after_first_batch(done: int, total: int) -> None:
        if done:
            raise CutOff

    monkeypatch.setattr(checking, "_READ_TOGETHER", 1)
    cut(folder / "JPEGImages" / "a.jpg")
    with pytest.raises(CutOff):
        check(folder, progress=stop_after_first_batch)
    seen: list[str] = []
    monkeypatch.setattr(checking, "read_image", lambda path: seen.append(path.stem) or read_image(path))
    told: list[tuple[int, int]] = []
    report = check(folder, progress=lambda done, total: told.append((done, total)))
    assert sorted(seen) == ["c", "t1", "t2"]  # two at a time: a and b were read before
    assert (told[0], told[-1]) == ((2, 5), (5, 5))
    assert "a.jpg" in report.problems[0]


def test_an_image_that_has_changed_since_is_read_again(folder: Path) -> None:
    cut(folder / "JPEGImages" / "a.jpg")
    assert check(folder).unusable == 1
    write_image(folder / "JPEGImages" / "a.jpg")
    assert check(folder).unusable == 0


@pytest.mark.parametrize("spoil", [lambda text: text[:-5], lambda text: text[:-40] + b"\0" * 39 + b"\n"])
def test_a_line_of_what_was_read_that_is_no_line_is_thrown_away(folder: Path, spoil: Callable[[bytes], bytes]) -> None:
    check(folder)
    kept = folder.parent / "read.jsonl"
    kept.write_bytes(spoil(kept.read_bytes()))
    assert check(folder).problems == ()
    assert len(kept.read_text().splitlines()) == 5


def test_generated_scenes_are_counted_in_all_their_splits(tmp_path: Path) -> None:
    source = ScenesSource(train_images=6, val_images=6, test_images=6, image_size_px=48)
    report = check(tmp_path / "none", source)
    assert {split.name: split.images for split in report.splits} == {"train": 6, "test": 6, "trainval": 12, "val": 6}
    assert report.splits[0].masks == 6
    assert report.splits[0].width_px == Extent(48, 48.0, 48)


def test_images_with_labels_alone_have_no_counts_of_objects(tmp_path: Path) -> None:
    write_images(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/dog/c.png", "extra/dog/d.png", "extra/dog/e.png")
    (tmp_path / "pets/extra/dog/e.png").write_bytes(b"no image")
    report = check(tmp_path / "pets", LabelsSource(path="pets"))
    train, _, extra = report.splits
    assert (train.name, train.images, train.objects, train.difficult, train.objects_per_image) == (
        "train",
        2,
        *[None] * 3,
    )
    assert train.classes == {name: ClassCounts(1, None, None, None) for name in ("cat", "dog")}
    assert (report.problems, extra.name, extra.images) == ((), "extra", 1)
    assert report.notes[0] == "split 'test' has no boxes, so AP cannot be counted on it"
    assert "e.png is neither JPEG nor PNG" in report.notes[1]


def test_boxes_of_labelled_images_are_counted_where_they_are_known_and_a_broken_one_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, "train/cat/a.png", "test/cat/b.png", "test/cat/c.png")
    (tmp_path / "pets/boxes").mkdir()
    for name, xml in {"b": an_annotation(CAT, CAT), "c": "<annotation>"}.items():
        (tmp_path / f"pets/boxes/{name}.xml").write_text(xml)
    report = check(tmp_path / "pets", LabelsSource(path="pets", annotations="boxes"))
    train, test = report.splits  # the folder of boxes is no split
    assert (train.objects, test.images, test.objects) == (None, 1, 2)
    (problem,) = report.problems
    assert "c.xml" in problem


def test_splits_of_tables_are_the_tables(tmp_path: Path) -> None:
    write_tables(
        tmp_path, train="image,label\nphotos/0.png,cat\n", test="image,label\nphotos/1.png,cat\n", more="image"
    )
    report = check(tmp_path / "pets", LabelsSource(path="pets", form="csv"))
    assert [split.name for split in report.splits] == ["train", "test"]
    assert any("more.csv" in note for note in report.notes)


def test_a_folder_of_coco_is_counted_and_a_broken_image_named(tmp_path: Path) -> None:
    write_coco(tmp_path)
    cut(tmp_path / "coco/val/000000000009.png")
    (tmp_path / "coco/train/000000000004.png").write_bytes(b"")
    (tmp_path / "coco/annotations/instances_more.json").write_text("{}")
    report = check(tmp_path / "coco", CocoSource(path="coco", train_split="train", test_split="val"))
    train, val = report.splits
    assert (train.images, train.objects, train.difficult) == (2, 3, 1)
    assert (val.images, val.objects) == (2, 2)
    assert report.unusable == 2
    assert {problem.split(" is ")[0].rpartition("/")[2] for problem in report.problems} == {
        "000000000009.png",
        "000000000004.png",
    }
    assert "instances_more.json" in report.notes[0]


def test_one_file_for_all_splits_of_coco_has_the_splits_that_are_named(tmp_path: Path) -> None:
    write_coco(tmp_path)
    source = CocoSource(
        path="coco", train_split="train", test_split="val", annotations="annotations/instances_train.json"
    )
    report = check(tmp_path / "coco", source)
    assert [split.name for split in report.splits] == ["train", "val"]


def test_a_data_set_that_is_not_there_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere does not exist"), ReadImages(tmp_path / "read.jsonl") as read:
        check_source(
            VocSource(path="nowhere"),
            DataRoots(tmp_path, tmp_path),
            read=read,
            threads=1,
            progress=lambda done, total: None,
        )
