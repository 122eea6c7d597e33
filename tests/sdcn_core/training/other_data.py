"""Scenes as other people's data sets: the same images as a table of labels and as COCO files, with proposals."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np

from sdcn_core.data.scenes import SCENE_CLASSES
from sdcn_core.data.voc import VocFolder

SPLITS = ("train", "val", "test")
BOXES = np.array([[k, j, k + side, j + side] for side in (15, 31) for k in range(0, 32, 8) for j in range(0, 32, 8)])
"""32 of them, inside the smallest image"""


def write_other_data(scenes: Path, root: Path) -> None:
    """`labels/<split>.csv`, `coco/annotations/instances_<split>.json` and `boxes.pkl` below the root."""
    boxes = {}
    for name in ("labels/photos", "coco/train", "coco/val", "coco/test"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(scenes / "JPEGImages", root / name)
    (root / "coco/annotations").mkdir()
    for split in SPLITS:
        found = VocFolder.at(scenes, SCENE_CLASSES).annotated_set(split)
        assert found.annotations is not None
        lines, images, annotations = ["image,label"], [], []
        for record, annotation in zip(found.image_set.records, found.annotations, strict=True):
            file = record.path.name
            lines.append(f"photos/{file},{';'.join(SCENE_CLASSES[c] for c in record.labels)}")
            number = len(images)
            images.append({"id": number, "file_name": file, "height": record.height, "width": record.width})
            for (x1, y1, x2, y2), c in zip(annotation.boxes.tolist(), annotation.classes.tolist(), strict=True):
                annotations.append({"image_id": number, "category_id": c, "bbox": [x1, y1, x2 - x1, y2 - y1]})
            boxes |= dict.fromkeys((number, record.image_id, f"photos/{file}"), BOXES)
        categories = [{"id": c, "name": name} for c, name in enumerate(SCENE_CLASSES)]
        (root / "labels" / f"{split}.csv").write_text("\n".join(lines) + "\n")
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "coco/annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    for name in ("boxes.pkl", "others.pkl"):
        (root / name).write_bytes(pickle.dumps(boxes))
