"""Pseudo labels in the two layouts that detectors are trained from: Pascal VOC's and COCO's. Images are named, not
copied.

Both are archives, equal for equal labels, byte for byte.
"""

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sdcn_core.data.image_set import ImageRecord, ImageSet
from sdcn_core.data.voc_writer import WrittenObject, annotation_xml
from sdcn_core.pseudo_labels.labels import PseudoLabels

VOC_FILE = "pseudo_labels_voc.zip"
COCO_FILE = "pseudo_labels_coco.zip"
COCO_MEMBER = "instances.json"
_BEGINNING = (1980, 1, 1, 0, 0, 0)
"""of the zip format's time: an archive says nothing of when it was made"""


def write_voc(labels: PseudoLabels, image_set: ImageSet, path: Path) -> None:
    """Annotations/<image id>.xml of every image, ImageSets/Main/<split>.txt, classes.txt, and a text about it all.

    The files fit a data set whose JPEGImages holds the images under their ids, as the one that they were found in does.
    Each <object> has the detector's <score>. An image in which nothing was found has an annotation without objects.

    Args:
        labels: of every image of the set.
        image_set: the split, whose classes are the labels'.
        path: of the archive.
    """
    source = f"found by the detector {labels.model_sha256}"

    def members() -> Iterator[tuple[str, bytes]]:
        for record in image_set.records:
            annotation = annotation_xml(
                _objects(labels, record),
                folder="pseudo-labels",
                file_name=record.path.name,
                height=record.height,
                width=record.width,
                segmented=False,
                source=source,
            )
            yield f"Annotations/{record.image_id}.xml", annotation
        ids = "".join(f"{record.image_id}\n" for record in image_set.records)
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
    folder = Path(os.path.commonpath([record.path.parent for record in image_set.records]))
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, record in enumerate(image_set.records, start=1):
        name = PurePosixPath(record.path.relative_to(folder)).as_posix()
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
