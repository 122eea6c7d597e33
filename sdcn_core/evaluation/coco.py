"""COCO's twelve figures, counted by its own tools (pycocotools, optional), and its files of results. C classes.

Where nobody gave COCO's numbers, images count from 1 in the order of their split and classes from 1 in their order.
"""

import contextlib
import importlib.util
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdcn_core.data.image_set import AnnotatedSet, CocoNumbers
from sdcn_core.errors import BadInput
from sdcn_core.evaluation.detections import best_of_image
from sdcn_core.structures.annotation import Annotation, Detections

BOXES_PER_IMAGE = 100
"""the best of an image over all classes that COCO looks at"""
MAX_RESULT_BYTES = 2**30


@dataclass(frozen=True)
class CocoFigures:
    """What COCO's tools print, in their order; in [0, 1], None where no object counts."""

    ap: float | None
    """mean over classes and over IoUs of 0.50, 0.55, ..., 0.95"""
    ap50: float | None
    """at IoU 0.50"""
    ap75: float | None
    ap_small: float | None
    """of objects below 32 x 32 px, as `ap`"""
    ap_medium: float | None
    ap_large: float | None
    """of objects above 96 x 96 px"""
    ar1: float | None
    """recall that the best box of each image and class reaches, mean over classes and IoUs"""
    ar10: float | None
    ar100: float | None
    ar_small: float | None
    ar_medium: float | None
    ar_large: float | None

    def by_name(self) -> dict[str, float | None]:
        """The figures by their fields' names, in COCO's order."""
        return asdict(self)


def require_coco_tools() -> None:
    """Say in time that COCO's figures cannot be counted here.

    Raises:
        BadInput: pycocotools is not installed.
    """
    if importlib.util.find_spec("pycocotools") is None:
        raise BadInput(
            "evaluation.coco asks for COCO's figures, which pycocotools counts, and it is not installed: pip install"
            " pycocotools, or set evaluation.coco to false"
        )


def coco_figures(split: AnnotatedSet, detections: Sequence[Detections]) -> CocoFigures:
    """The twelve figures of a split's detections.

    A difficult object is what COCO calls a crowd: it need not be found, and detections inside it are left out. Of each
    image BOXES_PER_IMAGE take part.

    Args:
        split: with annotations; where nobody drew boxes no object counts.
        detections: one an image, in the order of the split.

    Raises:
        BadInput: pycocotools is not installed.
    """
    require_coco_tools()
    from pycocotools.cocoeval import COCOeval

    numbers = coco_numbers(split)
    annotations = split.annotations or ()
    truth = {
        **image_info(split),
        "annotations": _numbered(entry for annotation in annotations for entry in _objects(annotation, numbers)),
    }
    found = {**image_info(split), "annotations": _numbered(map(_judged, coco_results(split, detections)))}
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(_indexed(truth), _indexed(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return CocoFigures(*(None if figure < 0 else float(figure) for figure in evaluation.stats))


def coco_numbers(split: AnnotatedSet) -> CocoNumbers:
    """COCO's numbers of the split; see the module where nobody gave them."""
    if split.coco is not None:
        return split.coco
    ids = {record.image_id: number for number, record in enumerate(split.image_set.records, start=1)}
    return CocoNumbers(image_ids=ids, category_ids=tuple(range(1, len(split.image_set.classes) + 1)))


def image_info(split: AnnotatedSet) -> dict[str, list[dict[str, Any]]]:
    """Images and categories of the split as COCO's files list them: what the numbers in a file of results mean."""
    numbers = coco_numbers(split)
    return {
        "images": [
            {
                "id": numbers.image_ids[record.image_id],
                "file_name": record.path.name,
                "height": record.height,
                "width": record.width,
            }
            for record in split.image_set.records
        ],
        "categories": [
            {"id": number, "name": name}
            for number, name in zip(numbers.category_ids, split.image_set.classes, strict=True)
        ],
    }


def coco_results(split: AnnotatedSet, detections: Sequence[Detections]) -> list[dict[str, Any]]:
    """Detections as COCO's files of results list them: image_id, category_id, bbox as x, y, width, height in px, score.

    Args:
        split: gives the numbers; its annotations are not looked at.
        detections: one an image, in the order of the split; the best BOXES_PER_IMAGE of each are listed.
    """
    numbers = coco_numbers(split)
    return [
        {
            "image_id": numbers.image_ids[found.image_id],
            "category_id": numbers.category_ids[label],
            "bbox": box,
            "score": score,
        }
        for found in (best_of_image(one, BOXES_PER_IMAGE) for one in detections)
        for box, score, label in zip(_sized(found.boxes), found.scores.tolist(), found.classes.tolist(), strict=True)
    ]


def detections_of_results(split: AnnotatedSet, results: Sequence[Mapping[str, Any]]) -> tuple[Detections, ...]:
    """Listed results as detections, one entry an image of the split; by class and best first, as all detections are.

    Raises:
        BadInput: an entry has no such form, or names an image or a category that the split has not.
    """
    numbers = coco_numbers(split)
    image_of = {number: image_id for image_id, number in numbers.image_ids.items()}
    class_of = {number: label for label, number in enumerate(numbers.category_ids)}
    rows: dict[str, list[tuple[float, ...]]] = {record.image_id: [] for record in split.image_set.records}
    for place, entry in enumerate(results, start=1):
        try:
            image_id, label = image_of[entry["image_id"]], class_of[entry["category_id"]]
            x, y, width, height = map(float, entry["bbox"])
            row = (label, -float(entry["score"]), x, y, x + width, y + height)
        except (KeyError, TypeError, ValueError) as error:
            raise BadInput(
                f"COCO results, entry {place}: needs image_id and category_id of split {split.image_set.name!r}, bbox"
                f" [x, y, width, height] and score; {error!r} of {str(entry)[:200]}"
            ) from error
        if not np.isfinite(row).all():
            raise BadInput(f"COCO results, entry {place}: a number is not finite: {str(entry)[:200]}")
        rows[image_id].append(row)
    return tuple(_as_detections(image_id, of_image) for image_id, of_image in rows.items())


def save_coco_results(split: AnnotatedSet, detections: Sequence[Detections], path: Path) -> None:
    """Write `coco_results` as COCO's server takes them."""
    path.write_text(json.dumps(coco_results(split, detections), separators=(",", ":")))


def load_coco_results(split: AnnotatedSet, path: Path) -> tuple[Detections, ...]:
    """What a file of results says of the split, one entry an image.

    Raises:
        BadInput: the file is missing, too large or no list of such results; the message names it.
    """
    try:
        if path.stat().st_size > MAX_RESULT_BYTES:
            raise BadInput(f"COCO results {path} have more than {MAX_RESULT_BYTES >> 20} MiB: leave out weak boxes")
        results = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"COCO results {path} cannot be read ({error}): write a JSON list of results") from error
    if not isinstance(results, list):
        raise BadInput(f"COCO results {path} are no list: write a JSON list of results")
    try:
        return detections_of_results(split, results)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def _as_detections(image_id: str, rows: list[tuple[float, ...]]) -> Detections:
    table = np.array(rows, dtype=np.float64).reshape(-1, 6)  # class, -score, xyxy
    table = table[np.lexsort((table[:, 1], table[:, 0]))]
    return Detections(
        image_id,
        boxes=table[:, 2:].astype(np.float32),
        scores=(-table[:, 1]).astype(np.float32),
        classes=table[:, 0].astype(np.int64),
    )


def _objects(annotation: Annotation, numbers: CocoNumbers) -> list[dict[str, Any]]:
    boxes = _sized(annotation.boxes)
    areas = [width * height for _, _, width, height in boxes]
    if numbers.areas is not None:
        areas = numbers.areas[annotation.image_id].tolist()
    return [
        {
            "image_id": numbers.image_ids[annotation.image_id],
            "category_id": numbers.category_ids[label],
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
        }
        for box, area, label, crowd in zip(
            boxes, areas, annotation.classes.tolist(), annotation.difficult.tolist(), strict=True
        )
    ]


def _judged(result: dict[str, Any]) -> dict[str, Any]:
    """A result as the tools want it: it says its own area."""
    _, _, width, height = result["bbox"]
    return result | {"area": width * height, "iscrowd": 0}


def _numbered(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Numbered from 1: the tools take 0 for none."""
    return [entry | {"id": number} for number, entry in enumerate(entries, start=1)]


def _sized(boxes: NDArray[np.floating]) -> list[list[float]]:
    """From xyxy to x, y, width, height."""
    edges = np.asarray(boxes, dtype=np.float64)
    sized: list[list[float]] = np.concatenate([edges[:, :2], edges[:, 2:] - edges[:, :2]], axis=1).tolist()
    return sized


def _indexed(dataset: dict[str, Any]) -> object:
    from pycocotools.coco import COCO

    tool = COCO()
    tool.dataset = dataset
    tool.createIndex()
    return tool
