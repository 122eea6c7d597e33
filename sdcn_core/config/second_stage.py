"""The second stage (paper, section 4, SDCN+FRCNN): a detector's best boxes as the labels of a Fast R-CNN."""

from pydantic import Field

from sdcn_core.config.base import FrozenConfig


class PseudoLabelConfig(FrozenConfig):
    """Which boxes of a trained detector are taken for the truth, of the classes that an image is known to show."""

    boxes_per_class: int = Field(default=1, ge=1, le=100)
    """of an image and class, the best ones, none overlapping a better one by the detector's evaluation.nms_iou; OICR
    takes the best alone"""
    min_score: float = Field(default=0.0, ge=0, lt=1)
    """boxes that score less are left out, and with them, maybe, all of a class"""
