"""Tiny VOC folders, written by hand."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

BOX = "<bndbox><xmax>20</xmax><xmin>11</xmin><ymax>15</ymax><ymin>6</ymin></bndbox>"
"""children in the order in which many real files have them"""


def an_object(name: str, *, box: str = BOX, difficult: str = "<difficult>0</difficult>", more: str = "") -> str:
    return f"<object>{more}<name>{name}</name>{box}{difficult}</object>"


def an_annotation(*objects: str, width: int = 40, height: int = 30) -> str:
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>{size}{''.join(objects)}</annotation>"


def write_image(path: Path, *, width: int = 40, height: int = 30, seed: int = 0) -> None:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST))


def write_voc(
    folder: Path,
    images: Mapping[str, Sequence[str]],
    *,
    split: str = "trainval",
    classes: Sequence[str] | None = ("cat", "dog"),
) -> Path:
    """A VOC folder with one 40 x 30 image an entry, its objects as XML texts."""
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for seed, (image_id, objects) in enumerate(images.items()):
        write_image(folder / "JPEGImages" / f"{image_id}.jpg", seed=seed)
        (folder / "Annotations" / f"{image_id}.xml").write_text(an_annotation(*objects))
    (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(images) + "\n")
    if classes is not None:
        (folder / "classes.txt").write_text("\n".join(classes) + "\n")
    return folder
