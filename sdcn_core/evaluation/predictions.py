"""What a network found on a test split, kept in one file: pages can be drawn and compared later without the network.

M boxes of all images together, n images, h x w the grid of a segmentation map.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdcn_core.errors import BadInput
from sdcn_core.evaluation.detections import best_of_image
from sdcn_core.structures.annotation import Detections

BOXES_PER_IMAGE = 100
"""the best of an image that are kept: more than any picture shows"""
SHOWN_IMAGES = 200
"""images, evenly spread over a split, whose segmentation maps are kept"""

ClassMap = NDArray[np.unsignedinteger]
"""(h, w) the strongest class of each cell, background C"""


@dataclass(frozen=True)
class Predictions:
    """Boxes of all images of a split, maps of some."""

    classes: tuple[str, ...]
    """class index -> name"""
    detections: tuple[Detections, ...]
    """of each image in the order of the split, by class and best first within a class"""
    maps: Mapping[str, ClassMap]
    """image id -> its segmentation map; empty where the network has no such branch"""


def shown_images(count: int, limit: int = SHOWN_IMAGES) -> list[int]:
    """At most `limit` positions evenly spread over `count` images, the first and the last among them.

    >>> shown_images(9, 3)
    [0, 4, 8]
    """
    return [int(index) for index in np.unique(np.linspace(0, count - 1, min(count, limit)).round())]


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write the file, a compressed archive of NumPy arrays without pickles; `path` ends in .npz.

    Arrays: `classes` (C,) names; `image_ids` (n,); `boxes` (M, 4) xyxy px half-open, `scores` (M,) and `labels` (M,),
    those of image i from `offsets[i]` to `offsets[i + 1]`, at most BOXES_PER_IMAGE; `map_ids` (m,), `map_shapes` (m, 2)
    rows and columns, `map_cells` all maps one after the other, row by row.
    """
    found = [best_of_image(one, BOXES_PER_IMAGE) for one in predictions.detections]
    maps = predictions.maps
    np.savez_compressed(
        path,
        classes=np.array(predictions.classes, dtype=np.str_),
        image_ids=np.array([one.image_id for one in found], dtype=np.str_),
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes for one in found)]),
        scores=np.concatenate([np.zeros(0, np.float32), *(one.scores for one in found)]),
        labels=np.concatenate([np.zeros(0, np.int16), *(one.classes.astype(np.int16) for one in found)]),
        offsets=np.cumsum([0, *(len(one.scores) for one in found)], dtype=np.int64),
        map_ids=np.array(list(maps), dtype=np.str_),
        map_shapes=np.array([grid.shape for grid in maps.values()], dtype=np.int32).reshape(-1, 2),
        map_cells=np.concatenate([np.zeros(0, np.uint8), *(grid.ravel() for grid in maps.values())]),
    )


def load_predictions(path: Path) -> Predictions:
    """What save_predictions wrote.

    Raises:
        BadInput: the file is missing, broken or something else; the message names it.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            image_ids, offsets = arrays["image_ids"].tolist(), arrays["offsets"]
            boxes, scores, labels = arrays["boxes"], arrays["scores"], arrays["labels"].astype(np.int64)
            detections = tuple(
                Detections(image_id, boxes[start:end], scores[start:end], labels[start:end])
                for image_id, start, end in zip(image_ids, offsets[:-1], offsets[1:], strict=True)
            )
            map_ids, shapes, cells = arrays["map_ids"].tolist(), arrays["map_shapes"], arrays["map_cells"]
            parts = np.split(cells, np.cumsum(shapes.prod(axis=1))[:-1]) if len(shapes) else []
            maps = {image_id: part.reshape(shape) for image_id, part, shape in zip(map_ids, parts, shapes, strict=True)}
            return Predictions(tuple(arrays["classes"].tolist()), detections, maps)
    except Exception as error:  # whatever zipfile, zlib and NumPy stumble over, the file is at fault
        raise BadInput(f"predictions {path} cannot be read ({error}): judge the model again to write them") from error
