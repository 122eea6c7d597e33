"""Data sets written in Pascal VOC layout, the same that the reader reads."""

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcn_core.data.class_masks import voc_palette
from sdcn_core.data.scene_drawing import Scene, SceneObject

JPEG_QUALITY = 95


def write_scene(folder: Path, image_id: str, scene: Scene, classes: Sequence[str]) -> None:
    """Image, annotation and both masks of one scene below the folder."""
    image = folder / "JPEGImages" / f"{image_id}.jpg"
    class_of = np.array([0, *(item.class_index + 1 for item in scene.objects)], np.uint8)
    files = {
        image: _jpeg(scene.pixels),
        folder / "Annotations" / f"{image_id}.xml": _scene_annotation(image.name, scene, classes),
        folder / "SegmentationClass" / f"{image_id}.png": indexed_png(class_of[scene.instances]),
        folder / "SegmentationObject" / f"{image_id}.png": indexed_png(scene.instances),
    }
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_lists(folder: Path, split: str, objects: Mapping[str, Sequence[SceneObject]], classes: Sequence[str]) -> None:
    """The split's lists: all images, all masks, and 1 or -1 an image for each class."""
    names = "".join(f"{image_id}\n" for image_id in objects)
    lists = {f"Main/{split}": names, f"Segmentation/{split}": names}
    for index, name in enumerate(classes):
        present = {image_id: any(item.class_index == index for item in items) for image_id, items in objects.items()}
        lines = (f"{image_id} {1 if here else -1:2d}\n" for image_id, here in present.items())
        lists[f"Main/{name}_{split}"] = "".join(lines)
    for name, content in lists.items():
        path = folder / "ImageSets" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@dataclass(frozen=True)
class WrittenObject:
    """One object of an annotation."""

    name: str
    box: tuple[float, float, float, float]
    """xyxy px from 0, half-open"""
    more: Mapping[str, str] = field(default_factory=dict)
    """further elements, which readers of VOC pass over"""


def annotation_xml(
    objects: Iterable[WrittenObject],
    *,
    folder: str,
    file_name: str,
    height: int,
    width: int,
    segmented: bool,
    source: str | None = None,
) -> bytes:
    """VOC's XML of one image: coordinates from 1, both edges inside; whole numbers without a point, others exactly.

    Args:
        objects: in order; may be empty.
        folder: the data set's name.
        file_name: of the image.
        height: of the image, px.
        width: of the image, px.
        segmented: whether the image has a mask.
        source: where the annotation comes from; None: nothing is said.
    """
    root = Element("annotation")
    SubElement(root, "folder").text = folder
    SubElement(root, "filename").text = file_name
    if source is not None:
        SubElement(SubElement(root, "source"), "annotation").text = source
    size = SubElement(root, "size")
    for name, value in (("width", width), ("height", height), ("depth", 3)):
        SubElement(size, name).text = str(value)
    SubElement(root, "segmented").text = str(int(segmented))
    for item in objects:
        node = SubElement(root, "object")
        for name, text in {"name": item.name, "truncated": "0", "difficult": "0", **item.more}.items():
            SubElement(node, name).text = text
        x1, y1, x2, y2 = item.box
        box = SubElement(node, "bndbox")
        for name, edge in (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2)):
            SubElement(box, name).text = str(int(edge)) if edge == int(edge) else repr(float(edge))
    indent(root)
    return tostring(root)


def _scene_annotation(file_name: str, scene: Scene, classes: Sequence[str]) -> bytes:
    height, width = scene.pixels.shape[:2]
    objects = (WrittenObject(classes[item.class_index], item.box) for item in scene.objects)
    return annotation_xml(objects, folder="scenes", file_name=file_name, height=height, width=width, segmented=True)


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    return bytes(cv2.imencode(".jpg", pixels[:, :, ::-1], options)[1])


def indexed_png(indices: NDArray[np.uint8]) -> bytes:
    """A PNG whose pixels are indices into VOC's palette. OpenCV writes none with a palette, and readers of VOC want
    one.
    """
    height, width = indices.shape

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\x00" + row.tobytes() for row in indices)  # each row unfiltered
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))
        + chunk(b"PLTE", voc_palette().tobytes())
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
