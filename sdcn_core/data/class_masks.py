"""Masks of classes as Pascal VOC stores them: PNG files whose pixels are indices into VOC's palette."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcn_core.data.image_set import AnnotatedSet, ImageRecord
from sdcn_core.data.images import image_size, read_image_bytes
from sdcn_core.errors import DatasetError

VOID: Final = -1
"""a pixel that counts neither for nor against: the rim that VOC draws around objects"""
_FILE_VOID = 255
_GREY, _PALETTE = 0, 3
"""colour types of PNG"""


@dataclass(frozen=True)
class VocMasks:
    """The files of SegmentationClass, read one at a time. An object of a class that is not ours is background."""

    paths: Mapping[str, Path]
    """image id -> file, of the images that have a mask"""
    numbering: tuple[str, ...]
    """name of index 1, 2, ... of the files; 0 is background, 255 void"""
    classes: tuple[str, ...]
    """class index -> name, as everywhere else"""

    def __contains__(self, image_id: str) -> bool:
        return image_id in self.paths

    def read(self, record: ImageRecord) -> NDArray[np.int16]:
        """See ClassMasks.

        Raises:
            DatasetError: the file is no PNG of 8-bit indices in VOC's palette or in grey, is broken, has another size
                than the image, or an index without a name.
        """
        path = self.paths[record.image_id]
        height, width = image_size(path)
        if (height, width) != (record.height, record.width):
            raise DatasetError(
                f"mask {path} is {width} x {height} pixels, its image {record.width} x {record.height}: one of the two"
                " files belongs to another image or was resized; correct it or take the mask away"
            )
        indices = _read_indices(path)
        unnamed = np.setdiff1d(indices, [*range(len(self.numbering) + 1), _FILE_VOID])
        if len(unnamed):
            raise DatasetError(
                f"mask {path} has the index {unnamed[0]}, but the {len(self.numbering)} names of the masks end with"
                f" {self.numbering[-1]!r}: list the names of 1, 2, ... in {path.parent / 'classes.txt'}"
            )
        return self._class_of_index[indices]

    @property
    def _class_of_index(self) -> NDArray[np.int16]:
        background = len(self.classes)
        lookup = np.full(256, background, np.int16)
        for index, name in enumerate(self.numbering, start=1):
            if name in self.classes:
                lookup[index] = self.classes.index(name)
        lookup[_FILE_VOID] = VOID
        return lookup


def check_masks(annotated: AnnotatedSet, *, progress: Callable[[int, int], None]) -> None:
    """Read each mask of a split once: a broken one shows now, not when a network of many hours is judged by it.

    Args:
        annotated: the split that will be judged.
        progress: called with (masks read, masks in all), at first and after each; an exception it raises ends it.

    Raises:
        DatasetError: see ClassMasks.
    """
    masks = annotated.masks
    masked = [] if masks is None else [record for record in annotated.image_set.records if record.image_id in masks]
    progress(0, len(masked))
    for done, record in enumerate(masked, start=1):
        assert masks is not None
        masks.read(record)
        progress(done, len(masked))


def _read_indices(path: Path) -> NDArray[np.uint8]:
    """The indices (H, W) of a PNG with VOC's palette, or in 8-bit grey."""
    encoded = read_image_bytes(path)
    is_png = encoded.startswith(b"\x89PNG\r\n\x1a\n")
    if not is_png or encoded[24] != 8 or encoded[25] not in (_GREY, _PALETTE):
        raise DatasetError(
            f"mask {path} is no PNG of 8-bit indices: write it with VOC's palette, or in grey (0 background, 255 void)"
        )
    try:
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise DatasetError(f"mask {path} is broken or cut off: replace it or take it away")
    if pixels.ndim == 2:
        return np.asarray(pixels, np.uint8)
    # OpenCV looks the palette up, and says nothing of the indices. VOC's colours are all different: they lead back.
    blue, green, red = (pixels[:, :, channel].astype(np.int64) for channel in range(3))
    codes = red << 16 | green << 8 | blue
    known, order = _palette_codes()
    place = np.searchsorted(known, codes).clip(max=len(known) - 1)
    if not (known[place] == codes).all():
        raise DatasetError(
            f"mask {path} has a colour that is not in VOC's palette: write it with that palette, or grey"
        )
    return order[place]


@cache
def _palette_codes() -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """VOC's colours as numbers, ascending, and the index of each."""
    red, green, blue = voc_palette().astype(np.int64).T
    codes = red << 16 | green << 8 | blue
    order = codes.argsort()
    return codes[order], order.astype(np.uint8)


def voc_palette() -> NDArray[np.uint8]:
    """VOC's colours (256, 3) RGB: the bits of an index, three by three, are the high bits of R, G and B."""
    index = np.arange(256)
    colours = np.zeros((256, 3), np.int64)
    for level in range(3):
        for channel in range(3):
            colours[:, channel] |= (index >> (3 * level + channel) & 1) << (7 - level)
    return colours.astype(np.uint8)
