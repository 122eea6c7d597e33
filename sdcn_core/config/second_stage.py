"""The second stage (paper, section 4, SDCN+FRCNN): a detector's best boxes as the labels of a Fast R-CNN."""

from typing import Self

from pydantic import Field, model_validator

from sdcn_core.config.base import FrozenConfig
from sdcn_core.config.schedule import Steps


class PseudoLabelConfig(FrozenConfig):
    """Which boxes of a trained detector are taken for the truth, of the classes that an image is known to show."""

    boxes_per_class: int = Field(default=1, ge=1, le=100)
    """of an image and class, the best ones, none overlapping a better one by the detector's evaluation.nms_iou; OICR
    takes the best alone"""
    min_score: float = Field(default=0.0, ge=0, lt=1)
    """boxes that score less are left out, and with them, maybe, all of a class"""


class SecondStageConfig(FrozenConfig):
    """Fast R-CNN on pseudo labels. The rest of its training, such as rates, is the schedule's; extractor and hidden
    layers are the model's.
    """

    labels: PseudoLabelConfig = PseudoLabelConfig()
    steps: int = Field(default=40_000, ge=1, le=10_000_000)
    decay_at_steps: tuple[Steps, ...] = (30_000,)
    """at which the rate is multiplied by schedule.decay_factor"""
    rois_per_image: int = Field(default=20_000, ge=1, le=1_000_000)
    """at most so many proposals and boxes of an image learn in a step: in effect all"""
    foreground_fraction: float = Field(default=0.25, gt=0, le=1)
    """at most this share of rois_per_image is foreground"""
    foreground_iou: float = Field(default=0.5, gt=0, le=1)
    """overlap with a pseudo label from which a proposal has its class, and learns its box"""
    background_iou_low: float = Field(default=0.1, ge=0, lt=1)
    """proposals that overlap every label less say nothing: they may show what has no label"""
    background_iou_high: float = Field(default=0.5, gt=0, le=1)
    """and below this they are background"""
    lambda_boxes: float = Field(default=1.0, ge=0, le=1000)
    """weight of the box regression's loss beside that of the classes"""
    smooth_l1_beta: float = Field(default=1.0, gt=0, le=100)
    """differences of normalised deltas below it count by their square"""
    normalize_deltas: bool = True
    """each class's deltas less their mean and divided by their deviation over the training set"""

    @model_validator(mode="after")
    def _ordered_overlaps(self) -> Self:
        if not self.background_iou_low < self.background_iou_high <= self.foreground_iou:
            raise ValueError(
                f"background_iou_low ({self.background_iou_low:g}) < background_iou_high"
                f" ({self.background_iou_high:g}) <= foreground_iou ({self.foreground_iou:g}) must hold: a proposal is"
                " foreground, background, or neither"
            )
        return self
