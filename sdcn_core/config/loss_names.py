"""The losses that training reports: their names, for those who may not import what computes them."""

from enum import StrEnum


class LossName(StrEnum):
    """The terms of the objective; logged unscaled as loss/<name> and weighted as loss_scaled/<name>."""

    MIL = "mil"
    REF = "ref"
    BOX = "box"
    """of the refinements' box regression, where they have one"""
    ADV = "adv"
    CLS = "cls"
    SEG = "seg"
    CLASSIFIER = "classifier"
    """f^C's own loss, eq. (15); its player's whole objective"""


LOSS_NAMES = ("backbone_labels", "classifier_labels", *(name.value for name in LossName))
"""All that are logged as loss/<name>, those of the label stages first."""


class RoiLossName(StrEnum):
    """The terms of a second stage, logged as those of the objective are."""

    ROI_CLASS = "roi_class"
    ROI_BOX = "roi_box"
