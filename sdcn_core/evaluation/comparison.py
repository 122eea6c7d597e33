"""What several networks found on one test split, compared image by image from the files that their runs left."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, assert_never

from sdcn_core.data.image_set import AnnotatedSet
from sdcn_core.data.images import read_image
from sdcn_core.errors import BadInput
from sdcn_core.evaluation.comparison_page import Column, comparison_page
from sdcn_core.evaluation.drawing import Colour
from sdcn_core.evaluation.predictions import Predictions, load_predictions, shown_images
from sdcn_core.evaluation.shown_boxes import above, agreement, detection_threshold
from sdcn_core.structures.annotation import Detections

MOST_BOXES = 6
"""detections drawn on one image"""
FIRST_COLOUR: Colour = (228, 40, 40)
LAST_COLOUR: Colour = (30, 190, 70)
"""red without, green with collaboration, as in figure 3"""

Choice = Literal["spread", "largest_gain", "largest_loss"]


def comparison_of(
    predictions: Mapping[str, Path], annotated: AnnotatedSet, path: Path, *, count: int, choose: Choice
) -> bool:
    """Draw images of a test split with what two or more networks found on them: boxes of each, then maps of each.

    False, and no page, where gains or losses are asked for and no image has one, or nobody drew its objects.

    Each network shows its detections from its own `detection_threshold` on, and of each image its best one, so that a
    page tells of boxes rather than of thresholds. The first one's boxes are red, the last one's green, any others' in
    the colours of their classes.

    Args:
        predictions: title of a network -> its predictions.npz; the first is compared with the last.
        annotated: the split on which all were made.
        path: ends in .jpg or .png; the folder exists.
        count: images at most, >= 1.
        choose: among the shown images of the split those evenly spread, or those on which the last network's
            `agreement` with the objects exceeds the first one's most, or falls short of it most, the largest
            difference first; none on which it does not.

    Raises:
        BadInput: a file cannot be read, or was made on other images or classes; the message names it.
        DatasetError: an image cannot be read.
        ValueError: fewer than two networks, or count < 1.
    """
    if len(predictions) < 2 or count < 1:
        raise ValueError(f"a comparison needs two networks and an image, got {len(predictions)} and {count}")
    loaded = {title: _loaded(file, annotated) for title, file in predictions.items()}
    thresholds = {title: detection_threshold(found.detections, annotated.truths) for title, found in loaded.items()}
    shown = shown_images(len(annotated.truths))
    boxes = {
        title: {index: above(found.detections[index], thresholds[title], least=1, most=MOST_BOXES) for index in shown}
        for title, found in loaded.items()
    }
    titles = list(loaded)
    gains = {
        index: agreement(boxes[titles[-1]][index], annotation) - agreement(boxes[titles[0]][index], annotation)
        for index, annotation in enumerate(annotated.annotations or ())
        if index in boxes[titles[0]]
    }
    chosen = _chosen(shown, gains, count, choose)
    if not chosen:
        return False
    records = [annotated.image_set.records[index] for index in chosen]
    masks = annotated.masks
    comparison_page(
        [read_image(record.path) for record in records],
        [annotated.truths[index] for index in chosen],
        _columns(loaded, boxes, chosen, [record.image_id for record in records]),
        annotated.image_set.classes,
        path,
        title=f"{titles[0]} and {titles[-1]} on split {annotated.image_set.name}: {_REASON[choose]}",
        notes=[
            "each shows as many detections as the split has objects, and of each image the best; from score "
            + ", ".join(f"{threshold:.2f} ({title})" for title, threshold in thresholds.items())
        ],
        masks=[masks.read(r) if r.image_id in masks else None for r in records] if masks is not None else None,
    )
    return True


_REASON: dict[Choice, str] = {
    "spread": "images evenly spread",
    "largest_gain": "images with the largest gain of the last",
    "largest_loss": "images with the largest loss of the last",
}


def _loaded(file: Path, annotated: AnnotatedSet) -> Predictions:
    found = load_predictions(file)
    image_set = annotated.image_set
    ids = [record.image_id for record in image_set.records]
    if found.classes != image_set.classes or [one.image_id for one in found.detections] != ids:
        raise BadInput(
            f"predictions {file} are of other images or classes than split {image_set.name}: compare runs that were"
            " judged on the same data"
        )
    return found


def _chosen(shown: Sequence[int], gains: Mapping[int, float], count: int, choose: Choice) -> list[int]:
    match choose:
        case "spread":
            return [shown[k] for k in shown_images(len(shown), count)]
        case "largest_gain":
            return sorted((index for index in gains if gains[index] > 0), key=lambda index: -gains[index])[:count]
        case "largest_loss":
            return sorted((index for index in gains if gains[index] < 0), key=lambda index: gains[index])[:count]
        case _:
            assert_never(choose)


def _columns(
    loaded: Mapping[str, Predictions],
    boxes: Mapping[str, Mapping[int, Detections]],
    chosen: Sequence[int],
    image_ids: Sequence[str],
) -> list[Column]:
    titles = list(loaded)
    colours = {titles[0]: FIRST_COLOUR, titles[-1]: LAST_COLOUR}
    columns = [
        Column(title, [boxes[title][index] for index in chosen], colours.get(title), "detections") for title in titles
    ]
    for title, found in loaded.items():
        if found.maps:
            grids = [found.maps.get(image_id) for image_id in image_ids]
            columns.append(Column(title, grids, subtitle="segmentation"))
    return columns
