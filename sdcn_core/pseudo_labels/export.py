"""Pseudo labels in the two layouts that detectors are trained from: Pascal VOC's and COCO's. Images are named, not
copied.

Both are archives, equal for equal labels, byte for byte.
"""

import json
import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sdcn_core.data.image_set import ImageRecord, ImageSet
from sdcn_core.data.voc_writer import WrittenObject, annotation_xml
from sdcn_core.pseudo_labels.labels import PseudoLabels

VOC_FILE = "pseudo_labels_voc.zip"
COCO_FILE = "pseudo_labels_coco.zip"
COCO_MEMBER = "instances.json"
_IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
_BEGINNING = (1980, 1, 1, 0, 0, 0)
"""of the zip format's time: an archive says nothing of when it was made"""


def write_voc(labels: PseudoLabels, image_set: ImageSet, path: Path) -> None:
    """Annotations/<image id>.xml of every image, ImageSets/Main/<split>.txt, classes.txt, and a text about it all.

    The files fit a data set whose JPEGImages holds the images under their ids, as a Pascal VOC folder does. Where ids
    are paths, annotations are called after them with '_' between folders, and <filename> has the path.
    Each <object> has the detector's <score>. An image in which nothing was found has an annotation without objects.

    Args:
        labels: of every image of the set.
        image_set: the split, whose classes are the labels'.
        path: of the archive.
    """
    source = f"found by the detector {labels.model_sha256}"
    names = _voc_ids(image_set)
    folder = _common_folder(image_set)

    def members() -> Iterator[tuple[str, bytes]]:
        for record, name in zip(image_set.records, names, strict=True):
            annotation = annotation_xml(
                _objects(labels, record),
                folder="pseudo-labels",
                file_name=record.path.relative_to(folder).as_posix(),
                height=record.height,
                width=record.width,
                segmented=False,
                source=source,
            )
            yield f"Annotations/{name}.xml", annotation
        ids = "".join(f"{name}\n" for name in names)
        yield f"ImageSets/Main/{image_set.name}.txt", ids.encode()
        yield "classes.txt", "".join(f"{name}\n" for name in labels.classes).encode()
        yield "README.txt", _readme(labels, image_set).encode()

    _write_zip(path, members())


def write_coco(labels: PseudoLabels, image_set: ImageSet, path: Path) -> None:
    """One file of COCO's object detection format: categories from 1, boxes x, y, width, height in px from 0.

    `file_name` is the image's path below the folder that holds them all. Each annotation has the detector's `score`,
    and `info` the detector's sum. Images in which nothing was found are listed too.

    Args:
        labels: of every image of the set.
        image_set: the split, whose classes are the labels'.
        path: of the archive.
    """
    folder = _common_folder(image_set)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, record in enumerate(image_set.records, start=1):
        name = record.path.relative_to(folder).as_posix()
        images.append({"id": number, "file_name": name, "height": record.height, "width": record.width})
        found = labels.images[record.image_id]
        for box, c, score in zip(found.boxes.tolist(), found.classes.tolist(), found.scores.tolist(), strict=True):
            x1, y1, x2, y2 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": c + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "score": score,
                }
            )
    content = {
        "info": {
            "description": "pseudo labels: boxes that a detector found and nobody drew",
            "model_sha256": labels.model_sha256,
            "split": image_set.name,
            **labels.config.model_dump(mode="json"),
        },
        "licenses": [],
        "categories": [{"id": index, "name": name} for index, name in enumerate(labels.classes, start=1)],
        "images": images,
        "annotations": annotations,
    }
    _write_zip(path, iter([(COCO_MEMBER, json.dumps(content, indent=1).encode())]))


def _common_folder(image_set: ImageSet) -> Path:
    return Path(os.path.commonpath([record.path.parent for record in image_set.records]))


def _voc_ids(image_set: ImageSet) -> list[str]:
    """Of each image a name that a Pascal VOC reader takes for an id: its own where it is one, each once."""
    taken: set[str] = set()
    names = []
    for record in image_set.records:
        own = record.image_id
        path = PurePosixPath(own)
        plain = own if path.suffix.lower() not in _IMAGE_SUFFIXES else path.with_suffix("").as_posix()
        name = first = re.sub(r"[^A-Za-z0-9_.\-]", "_", plain)
        number = 1
        while name in taken:
            number += 1
            name = f"{first}-{number}"
        taken.add(name)
        names.append(name)
    return names


def _objects(labels: PseudoLabels, record: ImageRecord) -> Iterator[WrittenObject]:
    found = labels.images[record.image_id]
    for box, c, score in zip(found.boxes.tolist(), found.classes.tolist(), found.scores.tolist(), strict=True):
        x1, y1, x2, y2 = box
        yield WrittenObject(labels.classes[c], (x1, y1, x2, y2), {"score": repr(score)})


def _readme(labels: PseudoLabels, image_set: ImageSet) -> str:
    return (
        "Pseudo labels: boxes that a detector found in images of which only the classes were known.\n"
        f"Detector: {labels.model_sha256}\n"
        f"Images: {len(image_set.records)}, {labels.num_without} of them without a box; boxes: {labels.num_boxes}\n"
        "Put the data set's own JPEGImages beside Annotations; the images are not in this archive.\n"
    )


def _write_zip(path: Path, members: Iterator[tuple[str, bytes]]) -> None:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            entry = zipfile.ZipInfo(name, _BEGINNING)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    partial.replace(path)
