"""Proposals that somebody has computed and published: .mat files as Fast R-CNN reads them, .pkl files as Detectron,
PCL and wetectron do.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from sdcn_core.config.data import ProposalFileConfig
from sdcn_core.data.image_set import ImageRecord, ImageSet
from sdcn_core.data.plain_pickle import array_of, read_plain_pickle
from sdcn_core.errors import DatasetError
from sdcn_core.structures.confined import leads_out

MAX_FILE_BYTES = 4 * 2**30
MAX_UNPACKED_BYTES = 8 * 2**30
"""of a .mat, whose parts are compressed"""
EDGE_TOLERANCE_PX = 1.0
"""a box may stick out of its image by this much and says nothing of the file's coordinates"""

Boxes = NDArray[np.float32]
_HEADER_BYTES = 128
_COMPRESSED = 15
"""type of a part of a .mat"""


def read_proposals(image_set: ImageSet, config: ProposalFileConfig, *, root: Path) -> dict[str, Boxes]:
    """The file's boxes of all images of a split, in file order: (N, 4) float32 xyxy px, half-open, N >= 1.

    What a box has outside its image is cut off; boxes without area, with a side below `min_side_px`, or there a second
    time are dropped, and of what is left the first `limit` are kept.

    An image's entry is the one with its id, or else with the number that the id is without its '_': 5 for 000005,
    2007000027 for 2007_000027; or else with the number behind its last '_', as files of VOC 2012's test images have it.

    Args:
        image_set: the split.
        config: the file and how it counts.
        root: what the file lies below.

    Raises:
        DatasetError: the file is missing, too large, broken or of another format; an image is not in it or has no box
            left; or most boxes of an image leave it, which other settings of `order` or `first_pixel` might explain.
    """
    path = root / config.path.replace("{split}", image_set.name)
    if leads_out(path, root):
        raise DatasetError(
            f"data.proposals.path: {path} is a link that leads out of the data root {root}: put the file itself there"
        )
    if not path.is_file():
        raise DatasetError(f"proposals {path} do not exist: put the file there or correct data.proposals.path")
    entries = _read_mat(path) if path.suffix == ".mat" else _read_pkl(path)
    boxes: dict[str, Boxes] = {}
    used: dict[str | int, str] = {}
    for record in image_set.records:
        key = next((name for name in _names(record.image_id) if name in entries), None)
        if key is None:
            raise DatasetError(
                f"proposals {path} have no entry for image {record.image_id}: compute them for all images of split"
                f" {image_set.name!r}, or take the image off the split list"
            )
        if key in used:
            raise DatasetError(
                f"proposals {path} have one entry, {key!r}, for the images {used[key]} and {record.image_id}: write it"
                " again with the images' own ids"
            )
        used[key] = record.image_id
        boxes[record.image_id] = _boxes_of(record, entries[key], _Convention.of(path, config), config, path)
    return boxes


@dataclass(frozen=True)
class _Convention:
    """How the file counts."""

    order: Literal["yxyx", "xyxy"]
    first_pixel: int
    inclusive: bool

    @classmethod
    def of(cls, path: Path, config: ProposalFileConfig) -> "_Convention":
        is_mat = path.suffix == ".mat"
        first_pixel = int(is_mat) if config.first_pixel is None else config.first_pixel
        return cls(config.order or ("yxyx" if is_mat else "xyxy"), first_pixel, config.inclusive)


def _names(image_id: str) -> Sequence[str | int]:
    """What an entry of the image may be called, the best first."""
    digits = image_id.replace("_", "")
    tail = image_id.rpartition("_")[2]
    return [image_id, *(int(text) for text in (digits, tail) if text.isascii() and text.isdecimal() and len(text) < 40)]


def _boxes_of(
    record: ImageRecord, entry: object, convention: _Convention, config: ProposalFileConfig, path: Path
) -> Boxes:
    where = f"proposals {path}, image {record.image_id}"
    try:
        found = np.asarray(entry, np.float64)
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{where}: the entry is no array of numbers: write (N, 4) boxes") from error
    if found.size and (found.ndim != 2 or found.shape[1] != 4):
        raise DatasetError(f"{where}: the entry has the shape {found.shape}: write (N, 4) boxes")
    if not np.isfinite(found).all():
        raise DatasetError(f"{where}: a coordinate is not finite: write the boxes again")
    found = found.reshape(-1, 4)[:, (1, 0, 3, 2) if convention.order == "yxyx" else (0, 1, 2, 3)]
    found = found - convention.first_pixel + np.array([0, 0, convention.inclusive, convention.inclusive])
    edges = np.array([record.width, record.height] * 2)
    leaving = ((found < -EDGE_TOLERANCE_PX) | (found > edges + EDGE_TOLERANCE_PX)).any(axis=1)
    turned = (found[:, :2] > found[:, 2:]).any(axis=1)
    if 2 * (leaving | turned).sum() > len(found):
        raise DatasetError(
            f"{where}: {(leaving | turned).sum()} of {len(found)} boxes leave the image of {record.width} x"
            f" {record.height} pixels or end before they begin: correct data.proposals.order ({convention.order}),"
            f" first_pixel ({convention.first_pixel}) or inclusive ({convention.inclusive})"
        )
    boxes = found.clip(0, edges).astype(np.float32)
    sides = boxes[:, 2:] - boxes[:, :2]
    boxes = boxes[(sides > 0).all(axis=1) & (sides >= config.min_side_px).all(axis=1)]
    if len(boxes) == 0:
        kept = f" with sides of {config.min_side_px} px or more" if config.min_side_px else ""
        raise DatasetError(
            f"{where}: there is no box{kept}: compute some, lower data.proposals.min_side_px, or take the image off the"
            " split list"
        )
    first = np.sort(np.unique(boxes, axis=0, return_index=True)[1])
    return boxes[first][: config.limit]


# --- .mat


def _read_mat(path: Path) -> Mapping[str | int, object]:
    """Boxes by image, of a file with the cell arrays `boxes` and `images`."""
    _check_mat(path)
    try:
        content = loadmat(str(path), variable_names=["boxes", "images"])
    except Exception as error:  # whatever a broken file stumbles over
        raise DatasetError(f"proposals {path} are broken ({error}): replace the file") from error
    if missing := [name for name in ("boxes", "images") if name not in content]:
        raise DatasetError(f"proposals {path} have no variable {missing[0]!r}: write the cell arrays boxes and images")
    images = [_only(cell) for cell in np.asarray(content["images"], object).ravel()]
    return _paired(path, images, list(np.asarray(content["boxes"], object).ravel()))


def _check_mat(path: Path) -> None:
    """Refuse what loadmat does not read, and what would fill the memory."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
        if header.startswith((b"MATLAB 7.3", b"\x89HDF")):
            raise DatasetError(f"proposals {path} are a .mat of version 7.3: save it with -v7, or as .pkl")
        size = path.stat().st_size
        if size > MAX_FILE_BYTES or (unpacked := _unpacked_bytes(file, header)) > MAX_UNPACKED_BYTES:
            shown = size if size > MAX_FILE_BYTES else unpacked
            most = MAX_FILE_BYTES if size > MAX_FILE_BYTES else MAX_UNPACKED_BYTES
            raise DatasetError(f"proposals {path} have {shown >> 20} MiB or more, over {most >> 20}: split them")


def _unpacked_bytes(file: BinaryIO, header: bytes) -> int:
    """What the compressed parts hold, counted to MAX_UNPACKED_BYTES; 0 for other versions, which compress nothing."""
    if header[126:128] not in (b"IM", b"MI"):
        return 0
    byte_order: Literal["little", "big"] = "little" if header[126:128] == b"IM" else "big"
    total = 0
    while len(tag := file.read(8)) == 8 and total <= MAX_UNPACKED_BYTES:
        kind, size = int.from_bytes(tag[:4], byte_order), int.from_bytes(tag[4:], byte_order)
        if kind != _COMPRESSED:
            file.seek(size, 1)
            continue
        total += _inflated(file, size)
    return total


def _inflated(file: BinaryIO, size: int) -> int:
    """How many bytes the next `size` ones hold, counted to MAX_UNPACKED_BYTES."""
    inflate, total = zlib.decompressobj(), 0
    end = file.tell() + size
    while total <= MAX_UNPACKED_BYTES and (packed := file.read(min(2**16, end - file.tell()))):
        while packed and total <= MAX_UNPACKED_BYTES:
            try:
                total += len(inflate.decompress(packed, 2**20))
            except zlib.error:  # loadmat will say so
                return total
            packed = inflate.unconsumed_tail
    return total


def _only(cell: object) -> object:
    """What a cell with one text holds."""
    values = np.asarray(cell).ravel()
    return values[0].item() if len(values) == 1 and values.dtype.kind in "Uiu" else cell


# --- .pkl


def _read_pkl(path: Path) -> Mapping[str | int, object]:
    """Boxes by image: a dict with `boxes` and, in their order, `indexes` or `ids`; or a dict from ids to boxes."""
    content = read_plain_pickle(path, max_bytes=MAX_FILE_BYTES)
    if not isinstance(content, dict):
        raise DatasetError(
            f"proposals {path} are no dict: write one with boxes and indexes, or from the images' ids to their boxes"
        )
    if "boxes" not in content:
        return _paired(path, list(content), [array_of(entry) for entry in content.values()])
    if (ids := content.get("indexes", content.get("ids"))) is None:
        raise DatasetError(f"proposals {path} have boxes, but neither indexes nor ids: write the images' ids")
    return _paired(path, *(_listed(part, path) for part in (ids, content["boxes"])))


def _listed(part: object, path: Path) -> list[Any]:
    values = array_of(part)
    if isinstance(values, np.ndarray):
        values = values.tolist() if values.ndim == 1 else list(values)
    if not isinstance(values, list | tuple):
        raise DatasetError(f"proposals {path}: boxes and ids must be lists, one entry an image: write them so")
    return [array_of(value) for value in values]


def _paired(path: Path, images: Sequence[object], boxes: Sequence[object]) -> Mapping[str | int, object]:
    if len(images) != len(boxes):
        raise DatasetError(
            f"proposals {path} name {len(images)} images but have boxes of {len(boxes)}: write one entry an image"
        )
    entries: dict[str | int, object] = {}
    for image, entry in zip(images, boxes, strict=True):
        name = image.decode("latin1") if isinstance(image, bytes) else image
        if not isinstance(name, str | int):
            raise DatasetError(f"proposals {path}: {str(name)[:80]!r} is no image's id: write a text or a whole number")
        if name in entries:
            raise DatasetError(f"proposals {path} have image {name!r} twice: keep one entry")
        entries[name] = entry
    return entries
