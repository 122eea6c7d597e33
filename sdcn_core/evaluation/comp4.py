"""Detections in the files of the VOC devkit, comp4_det_<split>_<class>.txt, as its server takes them.

A line is a box: image id, score, xmin, ymin, xmax, ymax. Pixels count from 1 and both edges are included.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdcn_core.errors import BadInput
from sdcn_core.structures.annotation import Detections

SCORE_DECIMALS, EDGE_DECIMALS = 3, 1
"""as OICR's code and others that descend from Fast R-CNN write them"""
MAX_LINES = 20_000_000
"""of all classes together that are read"""
MAX_LINE_LENGTH = 1000
_FIRST_PIXEL = np.array([1.0, 1.0, 0.0, 0.0])


def rounded(found: Detections) -> Detections:
    """The detections as they come back from files that hold three decimals of a score and one of an edge: many scores
    tie that did not before, and small ones become 0.
    """
    edges = np.round(found.boxes.astype(np.float64) + _FIRST_PIXEL, EDGE_DECIMALS) - _FIRST_PIXEL
    scores = np.round(found.scores.astype(np.float64), SCORE_DECIMALS)
    return Detections(found.image_id, edges.astype(np.float32), scores.astype(np.float32), found.classes)


def save_comp4(
    detections: Sequence[Detections], classes: Sequence[str], path: Path, *, data_set: str, split: str
) -> None:
    """Write the archive that is handed in: results/<data_set>/Main/ with a file for each class, in a .tar.gz.

    Scores have the digits that tell them apart, edges one decimal.

    Args:
        detections: one an image, in the order of the split.
        classes: class index -> name.
        path: ends in .tar.gz.
        data_set: as the server calls it, for example VOC2012.
        split: for example test.
    """
    with tarfile.open(path, "w:gz") as archive:
        for label, name in enumerate(classes):
            text = "".join(line for found in detections for line in _lines(found, label)).encode()
            member = tarfile.TarInfo(f"results/{data_set}/Main/{_file_name(split, name)}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))


def load_comp4(folder: Path, classes: Sequence[str], image_ids: Sequence[str], *, split: str) -> tuple[Detections, ...]:
    """The detections in a folder of such files, .txt or .txt.gz, one entry an image; by class, best first within one.

    Args:
        folder: holds a file for each class.
        classes: class index -> name.
        image_ids: of the split, in its order.
        split: as the files are named for it.

    Raises:
        BadInput: a file is missing, a line is no detection or of no image of the split; the message names it.
    """
    rows: dict[str, list[tuple[float, ...]]] = {image_id: [] for image_id in image_ids}
    count = 0
    for label, name in enumerate(classes):
        path = _existing(folder / _file_name(split, name))
        for number, line in enumerate(_read_lines(path), start=1):
            count += 1
            if count > MAX_LINES:
                raise BadInput(f"detections {path}, line {number}: more than {MAX_LINES} lines: leave out weak boxes")
            image_id, *words = line.split() or [""]
            try:
                score, *edges = map(float, words)
                of_image = rows[image_id]
            except (ValueError, KeyError):
                edges = []
            if len(edges) != 4 or not np.isfinite((score, *edges)).all():
                raise BadInput(
                    f"detections {path}, line {number}: {line[:200]!r} is no image of split {split!r} with score, xmin,"
                    " ymin, xmax and ymax"
                )
            of_image.append((label, score, *edges))
    return tuple(_as_detections(image_id, of_image) for image_id, of_image in rows.items())


def _file_name(split: str, class_name: str) -> str:
    return f"comp4_det_{split}_{class_name}.txt"


def _lines(found: Detections, label: int) -> Iterator[str]:
    own = found.classes == label
    scores = found.scores[own].astype(np.str_)  # the shortest text that tells a float32 from its neighbours
    edges: list[list[float]] = (found.boxes[own].astype(np.float64) + _FIRST_PIXEL).tolist()
    for score, (x1, y1, x2, y2) in zip(scores.tolist(), edges, strict=True):
        yield f"{found.image_id} {score} {x1:.1f} {y1:.1f} {x2:.1f} {y2:.1f}\n"


def _existing(path: Path) -> Path:
    for candidate in (path, path.with_name(f"{path.name}.gz")):
        if candidate.is_file():
            return candidate
    raise BadInput(f"detections {path} (or .gz) do not exist: there must be a file for each class, an empty one too")


def _read_lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
            yield from iter(lambda: lines.readline(MAX_LINE_LENGTH), "")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BadInput(f"detections {path} cannot be read ({error}): write them as text, or gzip it") from error


def _as_detections(image_id: str, rows: list[tuple[float, ...]]) -> Detections:
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)  # class, score, xyxy
    table = table[np.lexsort((-table[:, 1], table[:, 0]))]
    boxes: NDArray[np.float64] = table[:, 2:] - _FIRST_PIXEL
    return Detections(
        image_id,
        boxes=boxes.astype(np.float32),
        scores=table[:, 1].astype(np.float32),
        classes=table[:, 0].astype(np.int64),
    )
