"""The pictures a job leaves: what each is called, and what somebody who cannot see it is told."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.web.files import File

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")

WIDE = ("comparison.jpg", "largest_gains.jpg", "largest_losses.jpg")
"""four columns of images, which want the page's width"""

_KNOWN = {
    "comparison.jpg": (
        "Without and with collaboration",
        "Test images in rows: objects as annotated, detections of the base variant, detections and segmentation of the"
        " last variant. The numbers are in the table.",
    ),
    "largest_gains.jpg": (
        "Largest gains",
        "Test images on which the last variant gains most over the base variant, in rows: objects as annotated,"
        " detections of both, segmentation.",
    ),
    "largest_losses.jpg": (
        "Largest losses",
        "Test images on which the last variant loses most against the base variant, in rows: objects as annotated,"
        " detections of both, segmentation.",
    ),
    "detections.png": (
        "Detections",
        "Test images with the boxes that the trained network found, each with its class and score.",
    ),
    "gallery.jpg": (
        "Best and worst images",
        "A page of test images, from those detected best to those detected worst, with annotated and detected boxes.",
    ),
    "bars.png": (
        "Measures of each variant",
        "Bars of mAP, CorLoc and mIoU for each variant: the mean over seeds, its standard deviation, and a dot for each"
        " seed. The numbers are in the table.",
    ),
    "error_modes.png": (
        "Error modes",
        "Stacked bars, first of each variant's average, then of its classes: the share of best boxes that are"
        " correct, lie inside an object, contain one, overlap one a little, or touch none.",
    ),
    "precision_recall.png": (
        "Precision and recall",
        "Curves of precision against recall, one for each class.",
    ),
    "training_curves.png": (
        "Losses, gradient norms and learning rates",
        "Curves over the optimizer steps of all stages: losses above, then gradient norms, then learning rates. The"
        " charts of this page have the numbers.",
    ),
    "predictions.png": (
        "Predicted images",
        "Images of the folder with the boxes that the model found, each with its class and score.",
    ),
    "pseudo_labels.png": (
        "Pseudo labels",
        "Training images with the boxes of their classes that the model found best, each with its class and score.",
    ),
    "curves.png": (
        "The metric along each field",
        "One panel for each field that was searched: the metric at each of its values. The trials' table has the"
        " numbers.",
    ),
}


@dataclass(frozen=True)
class Picture:
    file: File
    caption: str
    alt: str
    wide: bool
    """the one to look at first, which needs room"""


def pictures(files: Iterable[File]) -> tuple[Picture, ...]:
    """The files that are pictures, those that compare first."""
    found = [_shown(file) for file in files if file.name.lower().endswith(ENDINGS)]
    return tuple(sorted(found, key=lambda shown: (_place(shown.file.name), shown.file.name)))


def _shown(file: File) -> Picture:
    plain = file.name.rpartition(".")[0].replace("_", " ")
    caption, alt = _KNOWN.get(file.name, (plain, f"Picture {file.name}, which the job left."))
    return Picture(file, caption, alt, wide=file.name in WIDE)


def _place(name: str) -> int:
    order: Sequence[str] = tuple(_KNOWN)
    return order.index(name) if name in order else len(order)
