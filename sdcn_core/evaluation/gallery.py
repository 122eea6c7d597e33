"""The test images on which a network did best and worst, large enough to see why."""

from pathlib import Path

from sdcn_core.data.image_set import AnnotatedSet
from sdcn_core.data.images import read_image
from sdcn_core.evaluation.comparison_page import Column, Section, comparison_page
from sdcn_core.evaluation.predictions import Predictions, shown_images
from sdcn_core.evaluation.shown_boxes import above, agreement, detection_threshold

ROWS = 5
"""best images, and as many worst ones"""
MOST_BOXES = 6
"""detections drawn on one image"""


def draw_gallery(predictions: Predictions, annotated: AnnotatedSet, path: Path) -> None:
    """Draw the ROWS best and worst of `shown_images`, by the agreement of their boxes with their objects.

    A row has the image with its objects, the detections from the split's `detection_threshold` on (the best one at
    least, whatever it scores), and the segmentation map where there is one. Where the split has no objects, or nobody
    drew them, nobody knows best from worst: the rows are evenly spread.

    Args:
        predictions: of all images of the split.
        annotated: the split.
        path: ends in .jpg or .png.
    """
    threshold = detection_threshold(predictions.detections, annotated.truths)
    shown = shown_images(len(annotated.truths))
    found = {index: above(predictions.detections[index], threshold, least=1, most=MOST_BOXES) for index in shown}
    annotations = annotated.annotations or ()
    if any(len(annotation.boxes) for annotation in annotations):
        scores = {index: agreement(found[index], annotations[index]) for index in shown}
        ranked = sorted(shown, key=lambda index: -scores[index])
        best, worst = ranked[: min(ROWS, (len(ranked) + 1) // 2)], ranked[(len(ranked) + 1) // 2 :][-ROWS:][::-1]
        chosen = best + worst
        title = "Best and worst"
        sections = [Section("best", len(best)), Section("worst, the worst first", len(worst))]
    else:
        chosen = [shown[k] for k in shown_images(len(shown), 2 * ROWS)]
        title = "Some"
        sections = [Section("evenly spread over the split", len(chosen))]
    records = [annotated.image_set.records[index] for index in chosen]
    masks = annotated.masks
    columns = [Column("detections", [found[index] for index in chosen])]
    if predictions.maps:
        columns.append(Column("segmentation", [predictions.maps.get(record.image_id) for record in records]))
    comparison_page(
        [read_image(record.path) for record in records],
        [annotated.truths[index] for index in chosen],
        columns,
        predictions.classes,
        path,
        title=f"{title} of {len(shown)} images of split {annotated.image_set.name}",
        notes=[
            f"detections from score {threshold:.2f} on, as many as the split has objects; and of each image the best"
        ],
        masks=[masks.read(r) if r.image_id in masks else None for r in records] if masks is not None else None,
        sections=sections,
    )
