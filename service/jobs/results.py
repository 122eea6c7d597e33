"""What a training is worth: boxes, pixels and error modes per class, beside an untrained network and random scores."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
ModeShares = dict[str, Share]
"""correct, inside, contains, overlap and none (the paper's figure 6) -> share of the images; together 1"""


class Judgement(BaseModel):
    """One set of scores: AP and pixels on the test split, CorLoc and error modes on the train split.

    What was not asked for, or cannot be known from the data, is null; results written before a measure existed lack it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    ap: dict[str, Share | None]
    """class -> average precision; null: the split has no object of the class"""
    mean_ap: Share | None
    """null: the split has no object of any class"""
    corloc: dict[str, Share | None]
    """class -> share of training images whose best box is right; null: no image has the class"""
    mean_corloc: Share | None
    """null: no training image has an annotated object"""
    num_test_images: int = Field(ge=0)
    num_train_images: int = Field(ge=0)
    seconds_per_image: float | None = Field(ge=0)
    """to score one test image; null: nothing was computed, as for chance"""

    error_modes: dict[str, ModeShares | None] | None = None
    """class -> how the best box of its training images lies to the objects; null: no image has the class"""
    mean_error_modes: ModeShares | None = None
    """averaged over classes"""

    iou: dict[str, Share | None] | None = None
    """class or background -> intersection over union of segmentation map and masks; null: no mask shows the class"""
    mean_iou: Share | None = None
    """over classes and background; null: no segmentation branch, or no test image has a mask"""
    pixel_recall: Share | None = None
    """of the segmentation map, averaged over classes (table 1)"""
    pixel_precision: Share | None = None
    pixel_recall_micro: Share | None = None
    """over the pixels of all classes together"""
    pixel_precision_micro: Share | None = None
    heatmap_recall: Share | None = None
    """of the detections turned into a map, averaged over classes (table 1)"""
    heatmap_precision: Share | None = None
    heatmap_recall_micro: Share | None = None
    """over the pixels of all classes together"""
    heatmap_precision_micro: Share | None = None
    num_masks: int = Field(default=0, ge=0)
    """test images with a mask: what the measures of pixels rest on"""


class TrainResults(BaseModel):
    """The outcome of a train job, stored with it and answered by GET /v1/jobs/{id}/results."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    classes: tuple[str, ...]
    trained: Judgement
    untrained: Judgement | None = None
    """the same network before its first step; null: not asked for"""
    chance: Judgement | None = None
    """random scores on the same proposals; null: not asked for"""

    def shortcomings(self) -> tuple[str, ...]:
        """Sentences on where training did not beat a baseline; empty when it beat all that were judged."""
        told: list[str] = []
        for name, baseline in (("the untrained network", self.untrained), ("chance", self.chance)):
            if baseline is None:
                continue
            for measure, ours, theirs in (
                ("mean AP", self.trained.mean_ap, baseline.mean_ap),
                ("mean CorLoc", self.trained.mean_corloc, baseline.mean_corloc),
            ):
                if ours is not None and theirs is not None and ours <= theirs:
                    told.append(f"{measure} {ours:.3f} does not beat {name} ({theirs:.3f})")
        return tuple(told)
