"""The result of an evaluation. C classes."""

from dataclasses import dataclass
from typing import Literal

from sdcn_core.evaluation.class_means import mean_over_classes
from sdcn_core.evaluation.coco import CocoFigures
from sdcn_core.evaluation.error_modes import mean_shares
from sdcn_core.evaluation.pixel_metrics import PixelScores
from sdcn_core.evaluation.trivial_boxes import TrivialBoxScores


@dataclass(frozen=True)
class EvaluationReport:
    """AP and pixels on the test split, CorLoc and error modes on the training split; every share is in [0, 1]."""

    classes: tuple[str, ...]
    ap: tuple[float | None, ...]
    """(C,) None where the test split has no object of the class"""
    corloc: tuple[float | None, ...]
    """(C,) None where no training image has the class, or CorLoc was not asked for"""
    num_test_images: int
    num_train_images: int
    """0: CorLoc was not asked for"""
    seconds_per_image: float | None = None
    """of scoring one image, all scales and flips; None: not measured"""
    error_modes: tuple[tuple[float, ...] | None, ...] | None = None
    """(C,) of the best box of each training image and class the share in each of `error_modes.MODES`; an entry is None
    where no training image has the class, the whole where CorLoc was not asked for"""
    segmentation: PixelScores | None = None
    """of the segmentation branch's maps; None: there is no branch, no mask, or nobody asked"""
    heatmap: PixelScores | None = None
    """of the detections turned into maps; None: there is no mask, or nobody asked"""
    classification_ap: tuple[float | None, ...] | None = None
    """(C,) of the test images by their best proposal; an entry is None where no test image has the class"""
    without_boxes: tuple[Literal["test", "train"], ...] = ()
    """the splits in whose images nobody drew boxes: of `test` AP is open, of `train` CorLoc and the error modes"""
    num_masks: int = 0
    """test images that have a mask and were judged by it; the others say nothing of pixels"""
    coco: CocoFigures | None = None
    """on the test split; None: nobody asked"""
    trivial: tuple[TrivialBoxScores, ...] = ()
    """what boxes that look at nothing reach with the network's class scores; empty: nobody asked"""

    def __post_init__(self) -> None:
        for field in ("ap", "corloc", "error_modes", "classification_ap"):
            values = getattr(self, field)
            if values is not None and len(values) != len(self.classes):
                raise ValueError(f"{field} has {len(values)} values for {len(self.classes)} classes")

    @property
    def mean_ap(self) -> float | None:
        """mAP: the mean over the classes that have an AP; None where none has."""
        return mean_over_classes(self.ap)

    @property
    def mean_corloc(self) -> float | None:
        return mean_over_classes(self.corloc)

    @property
    def mean_classification_ap(self) -> float | None:
        return mean_over_classes(self.classification_ap or ())

    @property
    def mean_error_modes(self) -> tuple[float, ...] | None:
        """The share of each mode as the mean over the classes that some training image has; None where none has."""
        return mean_shares(self.error_modes or ())

    def __str__(self) -> str:
        """One line for a log.

        >>> print(EvaluationReport(("cat", "dog"), (0.5, None), (0.25, 0.75), 10, 20))
        mAP 50.0 % over 1 of 2 classes (10 test images), CorLoc 50.0 % over 2 of 2 classes (20 training images)
        """
        name, values = ("mAP", self.ap)
        if "test" in self.without_boxes:
            name, values = ("classification mAP", self.classification_ap or ())
        parts = [f"{_percent(name, values)} ({self.num_test_images} test images)"]
        if self.segmentation is not None:
            parts.append(f"{_percent('mIoU', self.segmentation.iou)} ({self.num_masks} masks)")
        if self.num_train_images > 0 and "train" not in self.without_boxes:
            parts.append(f"{_percent('CorLoc', self.corloc)} ({self.num_train_images} training images)")
        if self.without_boxes:
            parts.append(f"no boxes of the {' and '.join(self.without_boxes)} split")
        return ", ".join(parts)


def _percent(name: str, values: tuple[float | None, ...]) -> str:
    mean = mean_over_classes(values)
    known = sum(value is not None for value in values)
    shown = "unknown" if mean is None else f"{100 * mean:.1f} %"
    return f"{name} {shown} over {known} of {len(values)} classes"
