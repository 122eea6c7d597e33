"""Readers of the published results that the evaluator is held against; not part of the repository."""

import json
import tarfile
from pathlib import Path
from typing import IO

import defusedxml.ElementTree as ET  # noqa: N817
import numpy as np
import pytest

from sdcn_core.data.image_set import AnnotatedSet, CocoNumbers, ImageRecord, ImageSet
from sdcn_core.structures.annotation import Annotation
from tests.sdcn_core.evaluation.made_up import annotation
from tests.shared_material import SHARED

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def published_folder(name: str) -> Path:
    """`evalref/<name>` of the shared folder; the test is skipped where there is none."""
    folder = SHARED / "evalref" / name
    if not folder.exists():
        pytest.skip(f"published results are not here: {folder} (SDCN_TEST_SHARED names the folder that holds evalref)")
    return folder


def voc07_test_annotations() -> dict[str, Annotation]:
    """The 4,952 images of VOC 2007 test by id, in the order of the split."""
    with tarfile.open(published_folder("VOC2007_GT.tar.gz")) as archive:
        split: list[str] = []
        files: dict[str, Annotation] = {}
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is None:
                continue
            if member.name == "VOC2007/ImageSets/Main/test.txt":
                split = content.read().decode().split()
            elif member.name.startswith("VOC2007/Annotations/"):
                files[Path(member.name).stem] = _annotation(content, Path(member.name).stem)
    return {image_id: files[image_id] for image_id in split}


def _annotation(file: IO[bytes], image_id: str) -> Annotation:
    root = ET.parse(file).getroot()
    assert root is not None
    objects = root.findall("object")
    edges = [
        [float(o.findtext(f"bndbox/{edge}") or "nan") for edge in ("xmin", "ymin", "xmax", "ymax")] for o in objects
    ]
    return annotation(
        half_open(edges),
        [VOC_CLASSES.index(o.findtext("name")) for o in objects],
        [o.findtext("difficult") == "1" for o in objects],
        image_id,
    )


def half_open(boxes: object) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """From pixels 1..W, both ends included."""
    return np.array(boxes, dtype=np.float64).reshape(-1, 4) - [1, 1, 0, 0]


def coco_split(folder: Path) -> AnnotatedSet:
    """The first 100 images of COCO val2014."""
    told = json.loads((folder / "instances_val2014_100.json").read_text())
    numbers = [category["id"] for category in told["categories"]]
    records, truths, areas = [], [], {}
    for image in told["images"]:
        image_id = str(image["id"])
        objects = [one for one in told["annotations"] if one["image_id"] == image["id"]]
        sized = np.array([one["bbox"] for one in objects]).reshape(-1, 4)
        boxes = np.concatenate([sized[:, :2], sized[:, :2] + sized[:, 2:]], axis=1)
        labels = [numbers.index(one["category_id"]) for one in objects]
        records.append(ImageRecord(image_id, Path(image["file_name"]), image["height"], image["width"], ()))
        truths.append(annotation(boxes, labels, [one["iscrowd"] for one in objects], image_id))
        areas[image_id] = np.array([one["area"] for one in objects], np.float64)
    names = tuple(category["name"] for category in told["categories"])
    ids = {record.image_id: int(record.image_id) for record in records}
    coco = CocoNumbers(ids, tuple(numbers), areas)
    return AnnotatedSet(ImageSet("val", names, tuple(records)), tuple(truths), coco=coco)
