import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdcn_core.config.data import CocoSource
from sdcn_core.data.class_masks import VOID
from sdcn_core.data.datasets import DataRoots, open_annotated_set, open_train_set, prepare_source
from sdcn_core.data.image_set import AnnotatedSet, ImageSet
from sdcn_core.errors import DatasetError
from tests.sdcn_core.data.voc_folders import write_image

SOURCE = CocoSource(path="coco", train_split="train", test_split="val")
CATEGORIES = [{"id": 18, "name": "dog"}, {"id": 3, "name": "traffic light"}, {"id": 90, "name": "unused"}]
CAT_AND_DOG = [
    {"id": 501, "image_id": 7, "category_id": 18, "bbox": [10.5, 5, 20.25, 15], "iscrowd": 0},
    {"id": 502, "image_id": 9, "category_id": 3, "bbox": [0, 0, 8, 8], "iscrowd": 1},
    {"id": 503, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]},
]
IMAGES = [{"id": number, "file_name": f"{number:012d}.png", "height": 30, "width": 40} for number in (9, 7, 4)]


def write_coco(root: Path, annotations: Any = CAT_AND_DOG, **changed: Any) -> Path:
    """Both splits with the same three images; `changed` are other lists or texts of the file."""
    content = {"info": {"year": 2017}, "images": IMAGES, "annotations": annotations, "categories": CATEGORIES} | changed
    for split in ("train", "val"):
        (root / "coco" / split).mkdir(parents=True, exist_ok=True)
        (root / "coco" / "annotations").mkdir(exist_ok=True)
        (root / "coco" / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
        for image in IMAGES:
            write_image(root / "coco" / split / image["file_name"], seed=image["id"])
    return root


def train(root: Path, *, difficult: bool = False, source: CocoSource = SOURCE) -> ImageSet:
    prepare_source(source, DataRoots(root, root), progress=lambda done, total: None)
    return open_train_set(source, DataRoots(root, root), labels_from_difficult=difficult)


def judged(root: Path, source: CocoSource = SOURCE) -> AnnotatedSet:
    return open_annotated_set(source, DataRoots(root, root), role="test")


def annotation(**changed: Any) -> list[dict[str, Any]]:
    return [CAT_AND_DOG[0] | changed, *CAT_AND_DOG[1:]]


def test_categories_are_classes_by_name_in_the_order_of_their_ids_if_anything_has_them(tmp_path: Path) -> None:
    found = train(write_coco(tmp_path))
    assert found.classes == ("traffic_light", "dog")
    assert {record.image_id: record.labels for record in found.records} == {"9": (), "7": (0, 1), "4": ()}


def test_a_crowd_makes_a_label_only_when_asked(tmp_path: Path) -> None:
    assert train(write_coco(tmp_path), difficult=True).records[0].labels == (0,)


def test_classes_may_be_chosen_and_other_categories_count_as_none(tmp_path: Path) -> None:
    source = SOURCE.with_overrides({"classes": ["dog"]})
    assert [record.labels for record in train(write_coco(tmp_path), source=source).records] == [(), (0,), ()]
    found = judged(tmp_path, source).annotations
    assert found is not None
    assert [len(one.boxes) for one in found] == [0, 1, 0]


def test_boxes_become_xyxy_and_crowds_difficult(tmp_path: Path) -> None:
    found = judged(write_coco(tmp_path)).annotations
    assert found is not None
    assert [one.boxes.tolist() for one in found] == [[[0, 0, 8, 8]], [[10.5, 5, 30.75, 20], [1, 2, 4, 6]], []]
    assert [one.classes.tolist() for one in found] == [[0], [1, 0], []]
    assert [one.difficult.tolist() for one in found] == [[True], [False, False], []]


def test_the_file_s_own_numbers_and_areas_come_with_the_boxes(tmp_path: Path) -> None:
    numbers = judged(write_coco(tmp_path, annotation(area=99.5))).coco
    assert numbers is not None
    assert (numbers.image_ids, numbers.category_ids) == ({"9": 9, "7": 7, "4": 4}, (3, 18))
    assert numbers.areas is not None
    assert {name: areas.tolist() for name, areas in numbers.areas.items()} == {"9": [64], "7": [99.5, 12], "4": []}
    assert judged(tmp_path, SOURCE.with_overrides({"classes": ["cow"]})).coco is None


def test_training_looks_at_no_coordinate(tmp_path: Path) -> None:
    root = write_coco(tmp_path, annotation(bbox="nothing", segmentation="nothing"))
    assert [record.labels for record in train(root).records] == [(), (0, 1), ()]


def test_a_box_is_cut_at_the_edge_and_one_without_area_is_a_label_alone(tmp_path: Path) -> None:
    root = write_coco(
        tmp_path, [CAT_AND_DOG[0] | {"bbox": [30, 20, 10.6, 10.4]}, CAT_AND_DOG[2] | {"bbox": [5, 5, 0, 3]}]
    )
    found = judged(root)
    assert found.annotations is not None
    assert found.annotations[1].boxes.tolist() == [[30, 20, 40, 30]]
    assert found.image_set.records[1].labels == (0, 1)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"bbox": [30, 20, 12, 10]}, "leaves the image of 40 x 30 pixels"),
        ({"bbox": [3, 2, -1, 10]}, "bbox has width -1"),
        ({"bbox": [3, 2, 1]}, r"bbox is '\[3, 2, 1\]': write \[x, y, width, height\]"),
        ({"bbox": [3, 2, 1, float("nan")]}, "write"),
        ({"bbox": [3, 2, 1, 10**400]}, "write"),
        ({"image_id": 8}, "no image has the id '8'"),
        ({"category_id": 8}, "no category has the id 8"),
        ({"category_id": None}, "category_id is 'None': write a number"),
        ({"iscrowd": 2}, "iscrowd is '2': write 0 or 1"),
    ],
)
def test_a_wrong_annotation_is_named_with_its_file(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetError, match=rf"instances_\w+.json, annotation 501: .*{said}"):
        judged(write_coco(tmp_path, annotation(**changed)))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"images": []}, "list no image"),
        ({"images": [IMAGES[0], IMAGES[0]]}, "have the image '9' 2 times"),
        ({"images": [IMAGES[0] | {"file_name": "../secret.png"}]}, "image 9: file_name '../secret.png' is no path"),
        ({"images": [IMAGES[0] | {"width": 41}], "annotations": []}, "say that image 9 is 41 x 30 pixels, but"),
        ({"images": [{"id": 1}]}, "image 1: file_name 'None' is no path"),
        ({"images": [IMAGES[0] | {"width": "wide"}]}, "image 9: height and width are '30' and 'wide'"),
        ({"categories": [*CATEGORIES, {"id": 4, "name": "dog"}]}, "have the category name 'dog' 2 times"),
        ({"categories": {}}, "categories is no list"),
        ({"categories": [3]}, "categories, entry 0 is no object"),
        ({"annotations": []}, r"the list of categories with an annotation in .* is empty"),
    ],
)
def test_a_wrong_file_is_refused_in_words(tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    source = SOURCE if "annotations" in changed and len(changed) == 1 else SOURCE.with_overrides({"classes": ["dog"]})
    with pytest.raises(DatasetError, match=said):
        judged(write_coco(tmp_path, **changed), source)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "are no JSON object"),
        ("[]", "are no JSON object"),
        ('{"images": [1', "are no JSON object|is no object"),
        ('{"images": [], "annotations": []}', "have no list 'categories'"),
        ('{"info": ' + "[" * 200_000, "are no JSON object"),
        ("\xff", "are no UTF-8 text"),
    ],
)
def test_a_file_that_is_no_coco_json_is_refused(tmp_path: Path, text: str, said: str) -> None:
    root = write_coco(tmp_path)
    for split in ("train", "val"):
        (root / f"coco/annotations/instances_{split}.json").write_bytes(text.encode("latin1"))
    with pytest.raises(DatasetError, match=said):
        judged(root)


def test_of_a_file_without_a_list_of_annotations_nothing_is_known_but_images_and_numbers(tmp_path: Path) -> None:
    path = write_coco(tmp_path) / "coco/annotations/instances_val.json"
    content = json.loads(path.read_text())
    del content["annotations"]
    path.write_text(json.dumps(content))
    unknown = judged(tmp_path)
    assert (unknown.annotations, unknown.masks, unknown.is_unknown) == (None, None, True)
    assert [record.image_id for record in unknown.image_set.records] == ["9", "7", "4"]
    assert unknown.coco is not None
    assert unknown.coco.image_ids == {"9": 9, "7": 7, "4": 4}
    with pytest.raises(DatasetError, match="has no image in split 'val'"):
        train(tmp_path, source=SOURCE.with_overrides({"train_split": "val", "classes": ["dog"]}))


def test_a_missing_file_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"data set folder .*coco does not exist"):
        train(tmp_path)
    (write_coco(tmp_path) / "coco/annotations/instances_train.json").unlink()
    with pytest.raises(DatasetError, match=r"instances_train.json cannot be read .*data.source.annotations"):
        train(tmp_path)


def test_files_may_lie_elsewhere(tmp_path: Path) -> None:
    root = write_coco(tmp_path)
    (root / "coco/annotations/instances_train.json").rename(root / "coco/train/_annotations.coco.json")
    (root / "coco/annotations/instances_val.json").rename(root / "coco/val/_annotations.coco.json")
    source = SOURCE.with_overrides({"annotations": "{split}/_annotations.coco.json"})
    assert len(train(root, source=source).records) == len(judged(root, source).image_set.records) == 3


# --- masks


def with_regions(root: Path, *regions: Any) -> AnnotatedSet:
    return judged(write_coco(root, [a | {"segmentation": r} for a, r in zip(CAT_AND_DOG, regions, strict=True)]))


def test_polygons_and_runs_are_drawn_as_masks_and_crowds_as_void(tmp_path: Path) -> None:
    runs = {"counts": [0, 60, 30 * 40 - 60], "size": [30, 40]}
    found = with_regions(tmp_path, [[10, 5, 30, 5, 30, 19, 10, 19]], runs, [[1, 2, 3, 2, 3, 5], [5, 5, 7, 5, 7, 7]])
    assert found.masks is not None
    crowd, both, empty = (found.masks.read(record) for record in found.image_set.records)
    assert (crowd[:, :2] == VOID).all()
    assert (crowd[:, 2:] == 2).all()
    assert (both[6:19, 11:30] == 1).all()
    assert both[3, 2] == both[6, 7] == 0
    assert both[25, 35] == both[10, 5] == 2
    assert (empty == 2).all()


def test_a_small_object_is_drawn_over_a_large_one(tmp_path: Path) -> None:
    large = {
        "id": 1,
        "image_id": 7,
        "category_id": 18,
        "bbox": [0, 0, 40, 30],
        "segmentation": [[0, 0, 39, 0, 39, 29, 0, 29]],
    }
    small = {"id": 2, "image_id": 7, "category_id": 3, "bbox": [5, 5, 5, 5], "segmentation": [[5, 5, 9, 5, 9, 9, 5, 9]]}
    found = judged(write_coco(tmp_path, [small, large]))
    assert found.masks is not None
    assert found.masks.read(found.image_set.records[1])[7, 7] == 0


def test_an_image_with_an_object_that_was_not_outlined_has_no_mask(tmp_path: Path) -> None:
    found = with_regions(tmp_path, [[10, 5, 30, 5, 30, 19]], {"counts": "PPYo0", "size": [30, 40]}, [])
    assert found.masks is None
    assert judged(write_coco(tmp_path)).masks is None


def test_runs_that_do_not_fill_the_image_are_refused(tmp_path: Path) -> None:
    found = with_regions(tmp_path, [[10, 5, 30, 5, 30, 19]], {"counts": [0, 60]}, [[1, 2, 3, 2, 3, 5]])
    assert found.masks is not None
    with pytest.raises(DatasetError, match=r"image 9 has runs of 60 pixels, its image .* has 1200"):
        found.masks.read(found.image_set.records[0])


def test_masks_are_left_out_of_the_split_that_corloc_is_counted_on(tmp_path: Path) -> None:
    with_regions(tmp_path, [[10, 5, 30, 5, 30, 19]], {"counts": [0, 1200]}, [[1, 2, 3, 2, 3, 5]])
    assert open_annotated_set(SOURCE, DataRoots(tmp_path, tmp_path), role="train").masks is None


def test_masks_are_class_indices(tmp_path: Path) -> None:
    found = with_regions(tmp_path, [[10, 5, 30, 5, 30, 19]], {"counts": [0, 1200]}, [[1, 2, 3, 2, 3, 5]])
    assert found.masks is not None
    assert found.masks.read(found.image_set.records[1]).dtype == np.int16
