"""What is wanted: the weights of the losses, the two arrows of the loop, and the paper's silences filled."""

from typing import Literal, Self

from pydantic import Field, model_validator

from sdcn_core.config.base import FrozenConfig

Weight = float
RefinementNormalizer = Literal["valid_count", "proposal_count", "weight_sum"]


class ObjectiveConfig(FrozenConfig):
    segmentation_branch: bool = True
    """false: OICR, the detection branch alone"""
    segmentation_instructs_detection: bool = True
    """the arrow S -> D, eqs. (16)-(20)"""
    detection_instructs_segmentation: bool = True
    """the arrow D -> S, eqs. (21)-(24)"""

    lambda_adv: float = Field(default=1.0, ge=0, le=1000)
    lambda_cls: float = Field(default=0.1, ge=0, le=1000)
    lambda_seg: float = Field(default=0.1, ge=0, le=1000)
    lambda_mil: float = Field(default=1.0, ge=0, le=1000)
    lambda_ref: float = Field(default=1.0, ge=0, le=1000)
    lambda_box: float = Field(default=1.0, ge=0, le=1000)
    """of the refinements' box regression, where model.detection.box_regression is on; 1 in MIST's code"""

    tau_0: float = Field(default=0.5, gt=0, le=100)
    """tolerance for a wrong segmentation, eq. (17)"""
    presence_fraction: float = Field(default=0.2, gt=0, le=1)
    """share of a map's pixels that speak for its class, eq. (12)"""
    pixel_fraction: float = Field(default=0.1, gt=0, le=1)
    """share of a class's pixels kept as pseudo labels, eq. (23)"""
    foreground_iou: float = Field(default=0.5, gt=0, lt=1)
    """overlap with the seed from which a proposal shares its class, eq. (4)"""
    ignored_below_iou: float = Field(default=0.0, ge=0, lt=1)
    """overlap with the seed below which a proposal is no background either and teaches nothing; 0: none is ignored, as
    in OICR and the paper. PCL's code (Tang et al. 2018) has 0.1; on VOC 2007 it reached 50.7 mAP with and 46.6 without
    (ppengtang/pcl.pytorch#59)"""
    first_refinement_weight: float = Field(default=1.0, gt=0, le=100)
    """the loss of the first refinement, and of its box regression, times this, eq. (7). PCL's code has 3; on VOC 2007
    it reached 50.7 mAP with and 46.4 without (ppengtang/pcl.pytorch#59)"""

    segmentation_prior: Literal["region_iou", "ts2c"] = "region_iou"
    """what makes a proposal good in eq. (17): its IoU with a segmented region; or, in its place, TS2C's objectness (Wei
    et al. ECCV 2018), a map's mean inside the box minus that around it, which needs no mask. TS2C, which chooses boxes
    by it, reports 44.3 mAP on VOC 2007, where OICR has 41.2"""
    surrounding_scale: float = Field(default=1.2, gt=1, le=4)
    """of ts2c: what lies around a box is in the box enlarged by this and not in itself"""
    binarization: Literal["argmax", "relative"] = "argmax"
    """how a map becomes a mask for eq. (17): its class wins among the present ones and background, or it exceeds
    `binarization_threshold` of its maximum"""
    binarization_threshold: float = Field(default=0.5, gt=0, lt=1)
    region_overlap: Literal["region", "bbox"] = "region"
    """IoU of eq. (17) with a component's pixels, or with its bounding box"""
    min_region_cells: int = Field(default=1, ge=1)
    """smaller components are ignored"""

    mil_reduction: Literal["mean", "sum"] = "mean"
    """over classes; OICR's gradient is the mean"""
    adversarial_reduction: Literal["mean", "sum"] = "mean"
    """over classes, eq. (11)"""
    classifier_reduction: Literal["mean", "sum"] = "sum"
    """over classes, f^C's own loss, eqs. (14)-(15)"""
    classifier_sees_background_erased: bool = True
    """whether the sum of eq. (15) includes the background map"""
    refinement_normalizer: RefinementNormalizer = "valid_count"
    """what divides the weighted refinement loss, eq. (6): the number of weighted proposals as in OICR, that of all
    proposals as in the code of PCL and MIST, or their weights"""
    probability_eps: float = Field(default=1e-6, gt=0, lt=0.1)
    """probabilities are kept this far from 0 and 1 before a logarithm"""

    @model_validator(mode="after")
    def _what_is_ignored_is_not_foreground(self) -> Self:
        if self.ignored_below_iou > self.foreground_iou:
            raise ValueError(
                f"ignored_below_iou ({self.ignored_below_iou}) must not exceed foreground_iou ({self.foreground_iou}):"
                " proposals between them would be ignored and of a class"
            )
        return self

    @model_validator(mode="after")
    def _arrows_need_a_branch(self) -> Self:
        for arrow in ("segmentation_instructs_detection", "detection_instructs_segmentation"):
            if getattr(self, arrow) and not self.segmentation_branch:
                raise ValueError(
                    f"{arrow} needs segmentation_branch: set {arrow} to false, or segmentation_branch to true"
                )
        return self
