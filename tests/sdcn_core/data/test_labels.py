from collections.abc import Mapping
from pathlib import Path

import pytest

from sdcn_core.config.data import LabelsSource
from sdcn_core.data.datasets import DataRoots, open_annotated_set, open_train_set, prepare_source
from sdcn_core.data.image_set import AnnotatedSet, ImageSet
from sdcn_core.errors import DatasetError
from tests.sdcn_core.data.voc_folders import an_annotation, an_object, write_image

FOLDERS = LabelsSource(path="pets")
TABLE = LabelsSource(path="pets", form="csv")


def write_images(root: Path, *names: str) -> None:
    """Images of different content below the folder `pets`."""
    for seed, name in enumerate(names):
        path = root / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, seed=seed)


def write_tables(root: Path, **tables: str) -> Path:
    write_images(root, *(f"photos/{k}.png" for k in range(4)))
    for split, text in tables.items():
        (root / "pets" / f"{split}.csv").write_text(text)
    return root


def train(root: Path, source: LabelsSource) -> ImageSet:
    roots = DataRoots(root, root)
    prepare_source(source, roots, progress=lambda done, total: None)
    return open_train_set(source, roots, labels_from_difficult=False)


def judged(root: Path, source: LabelsSource) -> AnnotatedSet:
    return open_annotated_set(source, DataRoots(root, root), role="test")


def labels(image_set: ImageSet) -> Mapping[str, tuple[str, ...]]:
    return {record.image_id: tuple(image_set.classes[c] for c in record.labels) for record in image_set.records}


# --- class folders


def test_a_folder_is_a_class_and_its_images_have_the_label(tmp_path: Path) -> None:
    write_images(tmp_path, "train/dog/a.png", "train/cat/b.png", "train/cat/more/c.jpg", "test/dog/d.png")
    found = train(tmp_path, FOLDERS)
    assert found.classes == ("cat", "dog")
    assert labels(found) == {"train/cat/b.png": ("cat",), "train/cat/more/c.jpg": ("cat",), "train/dog/a.png": ("dog",)}
    assert labels(judged(tmp_path, FOLDERS).image_set) == {"test/dog/d.png": ("dog",)}


def test_the_same_file_in_two_classes_is_one_image_with_two_labels(tmp_path: Path) -> None:
    write_images(tmp_path, "train/cat/1.png", "train/dog/2.png")
    (tmp_path / "pets/train/dog/1.png").write_bytes((tmp_path / "pets/train/cat/1.png").read_bytes())
    assert labels(train(tmp_path, FOLDERS)) == {"train/cat/1.png": ("cat", "dog"), "train/dog/2.png": ("dog",)}


def test_different_files_of_one_name_are_different_images(tmp_path: Path) -> None:
    write_images(tmp_path, "train/cat/1.png", "train/dog/1.png")
    assert labels(train(tmp_path, FOLDERS)) == {"train/cat/1.png": ("cat",), "train/dog/1.png": ("dog",)}


def test_a_folder_that_is_none_of_the_given_classes_holds_images_without_a_label(tmp_path: Path) -> None:
    write_images(tmp_path, "train/cat/a.png", "train/nothing/b.png")
    (tmp_path / "pets/classes.txt").write_text("cat\n")
    assert labels(train(tmp_path, FOLDERS)) == {"train/cat/a.png": ("cat",), "train/nothing/b.png": ()}


def test_hidden_files_and_files_that_are_no_images_are_passed_over(tmp_path: Path) -> None:
    write_images(tmp_path, "train/cat/a.png", "train/cat/.b.png", "train/.trash/c.png")
    (tmp_path / "pets/train/cat/notes.txt").write_text("none")
    assert list(labels(train(tmp_path, FOLDERS))) == ["train/cat/a.png"]


def test_a_name_that_no_file_could_have_is_made_one(tmp_path: Path) -> None:
    write_images(tmp_path, "train/traffic light/a.png")
    assert train(tmp_path, FOLDERS).classes == ("traffic_light",)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ((), "data set folder .* does not exist"),
        (("test/cat/a.png",), r"split folder .*train does not exist: .*class"),
        (("train/a.png",), r"image .*a.png lies in no class's folder: move it"),
        (("train/cat/a.gif",), r"split folder .*train has no image"),
    ],
)
def test_what_is_no_folder_of_classes_is_refused_in_words(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    for name in names:
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    with pytest.raises(DatasetError, match=said):
        train(tmp_path, FOLDERS)


def test_a_table_beside_missing_folders_is_pointed_at(tmp_path: Path) -> None:
    write_tables(tmp_path, train="image,label\n")
    with pytest.raises(DatasetError, match=r"data\.source\.form csv"):
        train(tmp_path, FOLDERS)


def test_a_class_of_the_test_split_that_was_never_trained_is_refused_unless_classes_are_listed(tmp_path: Path) -> None:
    write_images(tmp_path, "train/cat/a.png", "test/cat/b.png", "test/cow/c.png")
    with pytest.raises(DatasetError, match=r"'cow' is no label of the training split, which has cat"):
        judged(tmp_path, FOLDERS)
    listed = FOLDERS.with_overrides({"classes": ["cat"]})
    assert labels(judged(tmp_path, listed).image_set) == {"test/cat/b.png": ("cat",), "test/cow/c.png": ()}


# --- a table


def test_a_line_is_an_image_and_a_label_and_lines_of_one_image_add_up(tmp_path: Path) -> None:
    table = "image,label\nphotos/0.png,dog\nphotos/1.png,cat\nphotos/0.png,cat\n"
    found = train(write_tables(tmp_path, train=table), TABLE)
    assert labels(found) == {"photos/0.png": ("cat", "dog"), "photos/1.png": ("cat",)}
    assert (found.records[0].height, found.records[0].width) == (30, 40)


def test_a_line_may_have_several_labels_or_none_and_further_columns_and_a_byte_order_mark(tmp_path: Path) -> None:
    table = '\ufeffid,label,image\n1,"cat; dog",photos/0.png\n2,,photos/1.png\n\n'
    assert labels(train(write_tables(tmp_path, train=table), TABLE)) == {
        "photos/0.png": ("cat", "dog"),
        "photos/1.png": (),
    }


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", "its first line must name the columns image and label"),
        (
            "image;label\nphotos/0.png;cat\n",
            "its first line must name the columns image and label, separated by commas",
        ),
        ("image,label\n", "has no line after its first"),
        ("image,label\nphotos/0.png,cat,dog\n", r"train.csv, line 2: 3 cells in 2 columns: separate labels .* ';'"),
        ("image,label\n../secret.png,cat\n", r"train.csv, line 2: '../secret.png' is no path of an image below"),
        ("image,label\n/etc/passwd,cat\n", r"train.csv, line 2: '/etc/passwd' is no path"),
        ("image,label\nphotos/9.png,cat\n", r"image .*photos/9.png cannot be read"),
        ('image,label\nphotos/0.png,"cat\n', r"train.csv, line 2: .*write it as comma-separated text"),
        ("image,label\nphotos/0.png,§\n", r"train.csv, line 2: '' cannot name a class"),
    ],
)
def test_a_broken_table_is_refused_with_its_line(tmp_path: Path, table: str, said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        train(write_tables(tmp_path, train=table), TABLE)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    write_tables(tmp_path, train="image,label\nphotos/0.png,cat\n")
    with pytest.raises(DatasetError, match=r"table .*test.csv does not exist: write it, with a first line image,label"):
        judged(tmp_path, TABLE)


def test_a_listed_class_without_an_image_is_refused(tmp_path: Path) -> None:
    root = write_tables(tmp_path, train="image,label\nphotos/0.png,cat\n")
    with pytest.raises(DatasetError, match="class 'dog' has no image in split 'train'"):
        train(root, TABLE.with_overrides({"classes": ["cat", "dog"]}))


# --- boxes


def with_boxes(root: Path, **boxes: str) -> LabelsSource:
    """A table whose test split has three images, and annotations of those named."""
    table = "image,label\nphotos/1.png,cat\nphotos/2.png,cat\nphotos/3.png,\n"
    write_tables(root, train="image,label\nphotos/0.png,cat\n", test=table)
    for stem, text in boxes.items():
        path = root / "pets" / "boxes" / f"{stem[1:]}.xml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return TABLE.with_overrides({"annotations": "boxes"})


CAT = an_annotation(an_object("cat"))


def test_without_annotations_no_box_is_known(tmp_path: Path) -> None:
    with_boxes(tmp_path, _1=CAT, _2=CAT, _3=an_annotation())
    assert judged(tmp_path, TABLE).annotations is None


def test_boxes_of_the_test_split_are_read_and_those_of_the_training_split_unknown(tmp_path: Path) -> None:
    source = with_boxes(tmp_path, _1=CAT, _2=CAT, _3=an_annotation())
    found = judged(tmp_path, source).annotations
    assert found is not None
    assert [annotation.boxes.tolist() for annotation in found] == [[[10, 5, 20, 15]], [[10, 5, 20, 15]], []]
    assert open_annotated_set(source, DataRoots(tmp_path, tmp_path), role="train").annotations is None


def test_boxes_of_some_images_alone_are_refused(tmp_path: Path) -> None:
    source = with_boxes(tmp_path, _1=CAT, _2=CAT)
    with pytest.raises(DatasetError, match=r"annotation .*3.xml does not exist, .*1 of 3 are missing"):
        judged(tmp_path, source)


def test_a_missing_folder_of_annotations_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"folder .*boxes does not exist: correct data.source.annotations"):
        judged(tmp_path, with_boxes(tmp_path))


def test_images_of_one_name_cannot_share_an_annotation(tmp_path: Path) -> None:
    write_images(tmp_path, "train/cat/a.png", "test/cat/1.png", "test/dog/1.png", "boxes/x.png")
    source = FOLDERS.with_overrides({"annotations": "boxes", "classes": ["cat", "dog"]})
    with pytest.raises(DatasetError, match=r"would share annotation .*1.xml: rename one"):
        judged(tmp_path, source)


def test_training_reads_no_annotation(tmp_path: Path) -> None:
    source = with_boxes(tmp_path, _0="<annotation>broken")
    assert labels(train(tmp_path, source)) == {"photos/0.png": ("cat",)}
