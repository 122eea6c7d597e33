"""Image files, read with bounds: JPEG and PNG, pixels as stored (no EXIF rotation: annotations count stored pixels)."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sdcn_core.errors import DatasetError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
MAX_FILE_BYTES = 100 * 2**20
MAX_PIXELS = 64 * 2**20
_HEADER_BYTES = 2**16
_JPEG_START = b"\xff\xd8"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""markers without a length"""
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""markers of a frame header, which holds the size"""


def read_image(path: Path) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) RGB in [0, 255].

    Raises:
        DatasetError: the file is missing, no JPEG or PNG, too large, cut off or otherwise broken.
    """
    return decode_image(read_image_bytes(path), path)


def read_image_bytes(path: Path) -> bytes:
    """The encoded image; DatasetError where the file is missing or larger than MAX_FILE_BYTES."""
    try:
        with path.open("rb") as file:
            encoded = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(encoded) > MAX_FILE_BYTES:
        raise DatasetError(f"image {path} has more than {MAX_FILE_BYTES >> 20} MiB: store it smaller")
    return encoded


def decode_image(encoded: bytes, path: Path) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) RGB of an encoded image; `path` names it in errors."""
    _bounded_size(encoded, path)  # before decoding, which would allocate whatever the header claims
    try:
        flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise _broken(path)
    return np.asarray(pixels, np.uint8)


def image_size(path: Path) -> tuple[int, int]:
    """Height and width, px, from the file's header alone.

    Raises:
        DatasetError: the file is missing, no JPEG or PNG, or its header is broken or claims too many pixels.
    """
    try:
        with path.open("rb") as file:
            encoded = file.read(_HEADER_BYTES)
            if _encoded_size(encoded) is None:
                encoded += file.read(MAX_FILE_BYTES)  # a long EXIF or colour profile comes before the size
    except OSError as error:
        raise _unreadable(path, error) from error
    return _bounded_size(encoded, path)


def _bounded_size(encoded: bytes, path: Path) -> tuple[int, int]:
    if not encoded.startswith((_JPEG_START, _PNG_START)):
        raise DatasetError(f"image {path} is neither JPEG nor PNG: convert it to one of them")
    size = _encoded_size(encoded)
    if size is None or 0 in size:
        raise _broken(path)
    height, width = size
    if height * width > MAX_PIXELS:
        raise DatasetError(f"image {path} claims {width} x {height} pixels, more than {MAX_PIXELS}: store it smaller")
    return height, width


def _unreadable(path: Path, error: OSError) -> DatasetError:
    return DatasetError(f"image {path} cannot be read ({error.strerror}): put it there or take it off the split list")


def _broken(path: Path) -> DatasetError:
    return DatasetError(f"image {path} is broken or cut off: replace it, or take it off the split list")


def _encoded_size(encoded: bytes) -> tuple[int, int] | None:
    """Height and width as the header says; None where the bytes end before or make no sense."""
    if encoded.startswith(_PNG_START):
        is_header = len(encoded) >= 24 and encoded[12:16] == b"IHDR"
        return (_big_endian(encoded[20:24]), _big_endian(encoded[16:20])) if is_header else None
    at = len(_JPEG_START)
    while at + 9 <= len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker in _JPEG_FRAMES:
            return _big_endian(encoded[at + 5 : at + 7]), _big_endian(encoded[at + 7 : at + 9])
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _JPEG_STANDALONE:
            at += 2
        else:
            at += 2 + max(2, _big_endian(encoded[at + 2 : at + 4]))
    return None


def _big_endian(field: bytes) -> int:
    return int.from_bytes(field, "big")
