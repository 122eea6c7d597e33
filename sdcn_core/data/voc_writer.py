"""Scenes written as a data set in Pascal VOC layout, the same that the reader reads."""

import struct
import zlib
from collections.abc import Mapping, Sequence
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
        folder / "Annotations" / f"{image_id}.xml": _annotation(image.name, scene, classes),
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


def _annotation(file_name: str, scene: Scene, classes: Sequence[str]) -> bytes:
    """VOC's XML: coordinates from 1, both edges inside."""
    height, width = scene.pixels.shape[:2]
    root = Element("annotation")
    SubElement(root, "folder").text = "scenes"
    SubElement(root, "filename").text = file_name
    size = SubElement(root, "size")
    for name, value in (("width", width), ("height", height), ("depth", 3)):
        SubElement(size, name).text = str(value)
    SubElement(root, "segmented").text = "1"
    for item in scene.objects:
        node = SubElement(root, "object")
        for name, text in (("name", classes[item.class_index]), ("truncated", "0"), ("difficult", "0")):
            SubElement(node, name).text = text
        x1, y1, x2, y2 = item.box
        box = SubElement(node, "bndbox")
        for name, value in (("xmin", x1 + 1), ("ymin", y1 + 1), ("xmax", x2), ("ymax", y2)):
            SubElement(box, name).text = str(value)
    indent(root)
    return tostring(root)


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
