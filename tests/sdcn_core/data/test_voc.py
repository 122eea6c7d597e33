from dataclasses import fields
from pathlib import Path

import pytest

from sdcn_core.config.data import VocSource
from sdcn_core.data.datasets import DataRoots, open_annotated_set, open_train_set, prepare_source
from sdcn_core.data.image_set import AnnotatedSet, ImageRecord, ImageSet
from sdcn_core.data.voc import VOC_CLASSES, VocFolder
from sdcn_core.errors import DatasetError
from sdcn_core.structures.sample import Batch
from tests.sdcn_core.data.voc_folders import an_annotation, an_object, write_image, write_voc
from tests.shared_material import SHARED

CAT, DOG = an_object("cat"), an_object("dog")
TINY = SHARED / "data" / "voc12_tiny"
_TEN_TIMES = "".join(f'<!ENTITY a{k + 1} "' + 10 * f"&a{k};" + '">' for k in range(9))
BILLION_LAUGHS = f'<!DOCTYPE a [<!ENTITY a0 "ha">{_TEN_TIMES}]><annotation>&a9;</annotation>'


def train(folder: Path, split: str = "trainval", *, difficult: bool = False) -> ImageSet:
    return VocFolder.at(folder, None).labelled_set(split, labels_from_difficult=difficult)


def annotated(folder: Path, split: str = "trainval") -> AnnotatedSet:
    return VocFolder.at(folder, None).annotated_set(split)


def with_xml(folder: Path, image_id: str, text: str) -> Path:
    (folder / "Annotations" / f"{image_id}.xml").write_text(text)
    return folder


def test_labels_are_the_names_in_the_annotation_once_and_in_class_order(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [DOG, CAT, DOG], "b": [DOG]})
    assert [record.labels for record in train(folder).records] == [(0, 1), (1,)]


def test_objects_of_other_classes_are_ignored_and_an_image_may_have_no_label(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [CAT, an_object("sofa")], "b": [DOG], "c": [an_object("person")], "d": []})
    assert [record.labels for record in train(folder).records] == [(0,), (1,), (), ()]
    assert [len(found.boxes) for found in annotated(folder).annotations] == [1, 1, 0, 0]


def test_a_difficult_object_makes_a_label_only_when_asked(tmp_path: Path) -> None:
    hard = an_object("dog", difficult="<difficult>1</difficult>")
    folder = write_voc(tmp_path, {"a": [CAT, hard], "b": [DOG]})
    assert train(folder).records[0].labels == (0,)
    assert train(folder, difficult=True).records[0].labels == (0, 1)
    assert annotated(folder).annotations[0].difficult.tolist() == [False, True]


def test_an_object_without_the_difficult_flag_is_not_difficult(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [CAT, an_object("dog", difficult="")]})
    assert train(folder).records[0].labels == (0, 1)


def test_boxes_become_zero_based_and_half_open_whatever_the_order_of_their_edges(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [CAT, DOG]})
    assert annotated(folder).annotations[0].boxes.tolist() == [[10, 5, 20, 15]] * 2


def test_float_coordinates_are_read(tmp_path: Path) -> None:
    box = "<bndbox><xmin>11.5</xmin><ymin>6</ymin><xmax>20.25</xmax><ymax>15</ymax></bndbox>"
    folder = write_voc(tmp_path, {"a": [an_object("cat", box=box), DOG]})
    assert annotated(folder).annotations[0].boxes[0].tolist() == [10.5, 5, 20.25, 15]


def test_the_boxes_and_names_of_parts_are_not_read(tmp_path: Path) -> None:
    part = "<part><name>dog</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    folder = write_voc(tmp_path, {"a": [an_object("cat", more=part)], "b": [DOG]})
    assert train(folder).records[0].labels == (0,)
    assert annotated(folder).annotations[0].boxes.tolist() == [[10, 5, 20, 15]]


@pytest.mark.parametrize(
    "box",
    [
        "",
        "<bndbox></bndbox>",
        "<bndbox><xmin>-900</xmin><ymin>x</ymin><xmax>nan</xmax><ymax>1e9</ymax></bndbox>",
        "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>40</xmax><ymax>30</ymax></bndbox>",
    ],
)
def test_no_box_reaches_training_for_altered_or_absent_ones_change_nothing(tmp_path: Path, box: str) -> None:
    folder = write_voc(tmp_path, {"a": [CAT, DOG], "b": [DOG]})
    before = train(folder)
    for image_id, names in (("a", ("cat", "dog")), ("b", ("dog",))):
        with_xml(folder, image_id, an_annotation(*(an_object(name, box=box) for name in names)))
    assert train(folder) == before


def test_what_training_sees_has_no_field_for_a_box_that_somebody_drew() -> None:
    assert [field.name for field in fields(ImageRecord)] == ["image_id", "path", "height", "width", "labels"]
    assert [field.name for field in fields(ImageSet)] == ["name", "classes", "records"]
    by_a_detector = ["pseudo_boxes", "pseudo_classes"]
    assert [field.name for field in fields(Batch)] == [
        "image_ids",
        "images",
        "proposals",
        "image_labels",
        *by_a_detector,
    ]


@pytest.mark.parametrize("missing", ["JPEGImages", "Annotations", "ImageSets/Main"])
def test_a_missing_folder_is_named(tmp_path: Path, missing: str) -> None:
    folder = write_voc(tmp_path / "set", {"a": [CAT, DOG]})
    (folder / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match=f"set/{missing} does not exist.*data.source.path"):
        train(folder)


def test_preparing_a_voc_source_only_checks_that_it_is_there(tmp_path: Path) -> None:
    roots = DataRoots(tmp_path, tmp_path / "cache")
    with pytest.raises(DatasetError, match="nowhere does not exist"):
        prepare_source(VocSource(path="nowhere"), roots, progress=lambda done, total: None)
    write_voc(tmp_path / "set", {"a": [CAT, DOG]})
    prepare_source(VocSource(path="set"), roots, progress=lambda done, total: None)


def test_a_missing_split_list_names_those_that_are_there(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [CAT, DOG]})
    write_voc(tmp_path, {"a": [CAT, DOG]}, split="test")
    (folder / "ImageSets/Main/cat_trainval.txt").write_text("a 1\n")
    with pytest.raises(DatasetError, match=r"train\.txt does not exist: name a split that is there \(test, trainval\)"):
        train(folder, "train")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("a\nb\na\n", "'a' is on lines 1 and 3"),
        ("a 1\n", "line 1: 'a 1' is no image id"),
        ("a\n../../etc/passwd\n", "line 2: '../../etc/passwd' is no image id"),
    ],
)
def test_a_split_list_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    folder = write_voc(tmp_path, {"a": [CAT, DOG], "b": []})
    (folder / "ImageSets/Main/trainval.txt").write_text(text)
    with pytest.raises(DatasetError, match=rf"trainval\.txt.*{message}"):
        train(folder)


def test_a_listed_image_that_is_absent_is_named(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [CAT, DOG], "b": []})
    (folder / "JPEGImages/b.jpg").unlink()
    with pytest.raises(DatasetError, match=r"b\.jpg .* does not exist.*take 'b' off the list"):
        train(folder)


def test_a_listed_annotation_that_is_absent_is_named(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [CAT, DOG], "b": []})
    (folder / "Annotations/b.xml").unlink()
    for opened in (train, annotated):
        with pytest.raises(DatasetError, match=r"b\.xml cannot be read"):
            opened(folder)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("", "no well-formed XML"),
        ("<annotation><size>", "no well-formed XML"),
        ("<html></html>", "starts with <html>"),
        ("<annotation></annotation>", "has no <size>"),
        ("<annotation><size><width>40</width></size></annotation>", "<height> in <size> is ''"),
        (an_annotation(width=30, height=40), "30 x 40 pixels, but it is 40 x 30"),
        (an_annotation("<object><difficult>0</difficult></object>"), "<object> without <name>"),
        (an_annotation(an_object("cat", difficult="<difficult>maybe</difficult>")), "<difficult> of 'cat' is 'maybe'"),
        ('<!DOCTYPE a [<!ENTITY b "boom">]><annotation>&b;</annotation>', "no well-formed XML"),
        (BILLION_LAUGHS, "no well-formed XML"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation>&b;</annotation>', "no well-formed XML"),
        ('<!DOCTYPE a [<!ENTITY % b SYSTEM "http://localhost/b.dtd"> %b;]><annotation/>', "no well-formed XML"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_named(tmp_path: Path, xml: str, message: str) -> None:
    folder = with_xml(write_voc(tmp_path, {"a": [CAT, DOG], "b": []}), "b", xml)
    for opened in (train, annotated):
        with pytest.raises(DatasetError, match=rf"annotation .*b\.xml.*{message}"):
            opened(folder)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ((11, 6, 10, 15), "is empty"),
        ((11, 6, 60, 15), "leaves the image of 40 x 30"),
        ((-5, 6, 20, 15), "leaves the image"),
        ((50, 6, 60, 15), "leaves the image"),
        (("inf", 6, 20, 15), "write a number"),
        (("", 6, 20, 15), "write a number"),
    ],
)
def test_a_box_that_cannot_be_is_named_when_it_is_needed(
    tmp_path: Path, edges: tuple[object, ...], message: str
) -> None:
    named = zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True)
    box = f"<bndbox>{''.join(f'<{tag}>{edge}</{tag}>' for tag, edge in named)}</bndbox>"
    folder = write_voc(tmp_path, {"a": [CAT, DOG], "b": [an_object("cat", box=box)]})
    assert len(train(folder).records) == 2
    with pytest.raises(DatasetError, match=rf"b\.xml.*'cat'.*{message}"):
        annotated(folder)


def test_a_box_that_sticks_out_by_a_pixel_is_cut_at_the_edge(tmp_path: Path) -> None:
    box = "<bndbox><xmin>0</xmin><ymin>1</ymin><xmax>41</xmax><ymax>30</ymax></bndbox>"
    folder = write_voc(tmp_path, {"a": [an_object("cat", box=box), DOG]})
    assert annotated(folder).annotations[0].boxes[0].tolist() == [0, 0, 40, 30]


def test_a_class_without_a_training_image_is_named_with_the_names_that_are_there(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [CAT], "b": [an_object("horse")]})
    with pytest.raises(DatasetError, match=r"class 'dog' has no image in split 'trainval'.*there are cat, horse"):
        train(folder)
    assert annotated(folder).image_set.classes == ("cat", "dog")


def test_a_class_with_difficult_training_objects_only_is_told_the_setting(tmp_path: Path) -> None:
    hard = an_object("dog", difficult="<difficult>1</difficult>")
    folder = write_voc(tmp_path, {"a": [CAT], "b": [hard]})
    with pytest.raises(DatasetError, match=r"class 'dog' .*labels_from_difficult"):
        train(folder)


def test_classes_are_those_named_then_classes_txt_then_vocs_twenty(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [CAT, DOG]})
    assert VocFolder.at(folder, ["dog"]).classes == ("dog",)
    assert VocFolder.at(folder, None).classes == ("cat", "dog")
    (folder / "classes.txt").unlink()
    assert VocFolder.at(folder, None).classes == VOC_CLASSES
    assert len(set(VOC_CLASSES)) == 20


@pytest.mark.parametrize(
    ("names", "message"), [([], "is empty"), (["cat", "cat"], "more than once"), (["a/b"], "'a/b' cannot name a class")]
)
def test_class_names_that_cannot_be_used_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    folder = write_voc(tmp_path, {"a": [CAT, DOG]}, classes=names)
    for classes in (None, names):
        with pytest.raises(DatasetError, match=message):
            VocFolder.at(folder, classes)


def test_png_images_are_found_too(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [CAT, DOG]})
    (folder / "JPEGImages/a.jpg").unlink()
    write_image(folder / "JPEGImages/a.png")
    assert train(folder).records[0].path.name == "a.png"


@pytest.mark.skipif(
    not TINY.is_dir(), reason=f"no {TINY}; set SDCN_TEST_SHARED to the folder that holds data/voc12_tiny"
)
@pytest.mark.parametrize(
    ("split", "images", "images_with", "objects"),
    [
        ("train", 32, [7, 7, 6, 6, 6], [7, 7, 7, 7, 17]),
        ("val", 8, [1, 1, 2, 2, 2], [1, 3, 3, 2, 19]),
        ("trainval", 40, [8, 8, 8, 8, 8], [8, 10, 10, 9, 36]),
        ("test", 25, [5, 5, 5, 5, 5], [6, 7, 5, 8, 13]),
    ],
)
def test_real_voc_files_are_counted_as_their_makers_count_them(
    split: str, images: int, images_with: list[int], objects: list[int]
) -> None:
    source = VocSource(path="voc12_tiny", train_split=split, test_split=split)
    roots = DataRoots(TINY.parent, TINY.parent)
    records = open_train_set(source, roots, labels_from_difficult=False).records
    annotations = open_annotated_set(source, roots, role="test").annotations
    assert len(records) == images
    assert [sum(index in record.labels for record in records) for index in range(5)] == images_with
    assert [sum(int((a.classes[~a.difficult] == i).sum()) for a in annotations) for i in range(5)] == objects


def test_a_split_whose_objects_have_no_boxes_trains_and_its_boxes_are_unknown(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [an_object("cat", box="")], "b": [an_object("dog", box="")], "c": []})
    assert [record.labels for record in train(folder).records] == [(0,), (1,), ()]
    assert annotated(folder).annotations is None
    assert [record.labels for record in annotated(folder).image_set.records] == [(0,), (1,), ()]


def test_a_split_in_which_some_objects_have_boxes_and_others_none_is_refused(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [CAT], "b": [DOG, an_object("cat", box="")]})
    with pytest.raises(DatasetError, match=r"b.xml: object 'cat' has no <bndbox>: add it or take the object out"):
        annotated(folder)


def test_of_a_split_without_annotation_files_nothing_is_known_but_its_images(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [CAT], "b": [DOG]}, split="test")
    for image_id in "ab":
        (folder / "Annotations" / f"{image_id}.xml").unlink()
    unknown = annotated(folder, "test")
    assert (unknown.annotations, unknown.masks, unknown.is_unknown) == (None, None, True)
    assert [(r.image_id, r.height, r.width, r.labels) for r in unknown.image_set.records] == [
        ("a", 30, 40, ()),
        ("b", 30, 40, ()),
    ]
    with pytest.raises(DatasetError, match=r"a\.xml"):
        train(folder, "test")


def test_a_split_that_lacks_some_annotation_files_is_refused(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [CAT], "b": [DOG]})
    (folder / "Annotations" / "b.xml").unlink()
    with pytest.raises(DatasetError, match=r"b\.xml cannot be read"):
        annotated(folder)


def test_labels_without_boxes_are_known(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": [an_object("cat", box="")], "b": [an_object("dog", box="")]})
    assert not annotated(folder).is_unknown
    assert not annotated(write_voc(tmp_path, {"a": [CAT], "b": []})).is_unknown
