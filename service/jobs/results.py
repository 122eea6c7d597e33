"""What a training is worth: boxes, pixels and error modes per class, beside what has learnt or looks at nothing."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
ModeShares = dict[str, Share]
"""correct, inside, contains, overlap and none (the paper's figure 6) -> share of the images; together 1"""


class CocoFigures(BaseModel):
    """What COCO's own tools count on the test split; null where no object is of that size."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    ap: Share | None
    """mean over classes and over IoUs of 0.50, 0.55, ..., 0.95"""
    ap50: Share | None
    """at IoU 0.50"""
    ap75: Share | None
    ap_small: Share | None
    """of objects below 32 x 32 px"""
    ap_medium: Share | None
    ap_large: Share | None
    """of objects above 96 x 96 px"""
    ar1: Share | None
    """recall of the best box of each image and class, mean over classes and IoUs"""
    ar10: Share | None
    ar100: Share | None
    ar_small: Share | None
    ar_medium: Share | None
    ar_large: Share | None

    def by_title(self) -> dict[str, float | None]:
        """The figures as tables call them, in COCO's order.

        >>> list(CocoFigures(**dict.fromkeys(CocoFigures.model_fields)).by_title())[:4]
        ['AP', 'AP50', 'AP75', 'AP small']
        """
        return {f"{field[:2].upper()}{field[2:].replace('_', ' ')}": value for field, value in dict(self).items()}


class TrivialBox(BaseModel):
    """What one box an image reaches that looks at nothing, ranked by the network's scores of whole images."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mean_ap: Share | None
    mean_corloc: Share | None


class Judgement(BaseModel):
    """One set of scores: AP, classification AP and pixels on the test split, CorLoc and error modes on the train split.

    What was not asked for, or cannot be known from the data, is null; results written before a measure existed lack it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    ap: dict[str, Share | None]
    """class -> average precision; null: the split has no object of the class, or nobody drew its boxes"""
    mean_ap: Share | None
    """null: the split has no object of any class, or nobody drew its boxes"""
    corloc: dict[str, Share | None]
    """class -> share of training images whose best box is right; null: no image has the class, or nobody drew boxes"""
    mean_corloc: Share | None
    """null: no training image has an annotated object, or nobody drew boxes"""
    without_boxes: tuple[Literal["test", "train"], ...] = ()
    """the splits in whose images nobody drew boxes: of `test` AP cannot be counted, of `train` CorLoc and error modes
    cannot"""
    classification_ap: dict[str, Share | None] | None = None
    """class -> average precision of the test images, ranked by the score of their best box; null: no image has the
    class"""
    mean_classification_ap: Share | None = None
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

    coco: CocoFigures | None = None
    """null: evaluation.coco was not asked for"""

    trivial: dict[str, TrivialBox] = Field(default_factory=dict)
    """whole_image, centred_box (four fifths of each side) and largest_proposal (under nine tenths of the image) -> what
    that box reaches with this network's class scores: a detector that is no better has not localized"""

    def told_of_trivial_boxes(self) -> str:
        """A sentence on what boxes reach that look at nothing; empty where nobody asked, or nobody drew boxes."""
        told = [
            f"{name.replace('_', ' ')} {_percent(box.mean_ap)} mAP, {_percent(box.mean_corloc)} CorLoc"
            for name, box in self.trivial.items()
            if box.mean_ap is not None or box.mean_corloc is not None
        ]
        return f"With the same scores, one box an image: {'; '.join(told)}." if told else ""

    def shown_measures(self) -> dict[str, str]:
        """What a table shows of each class, field -> title: what cannot be counted without boxes is left out, and where
        that is AP the labels' takes its place.
        """
        measures = {"classification_ap": "classification AP"} if "test" in self.without_boxes else {"ap": "AP"}
        return measures if "train" in self.without_boxes else measures | {"corloc": "CorLoc"}

    def of_class(self, measure: str, label: str) -> float | None:
        """One of `shown_measures`, of one class."""
        values: dict[str, Share | None] | None = getattr(self, measure)
        return (values or {}).get(label)

    def mean_of(self, measure: str) -> float | None:
        """One of `shown_measures`, averaged over classes."""
        mean: float | None = getattr(self, f"mean_{measure}")
        return mean

    def without_boxes_sentence(self) -> str:
        """What cannot be counted because nobody drew boxes; empty where they are known.

        >>> judgement = Judgement.model_construct(without_boxes=("test", "train"))
        >>> judgement.without_boxes_sentence()
        'no boxes: AP and CorLoc cannot be counted'
        """
        match self.without_boxes:
            case ("test",):
                return "no boxes in the test split: AP cannot be counted"
            case ("train",):
                return "no boxes in the training split: CorLoc cannot be counted"
            case ():
                return ""
            case _:
                return "no boxes: AP and CorLoc cannot be counted"

    def where(self, test: str, train: str, *, unit: str) -> str:
        """What was measured where, in a sentence without its end.

        >>> Judgement.model_construct(without_boxes=("train",)).where("val", "train", unit="in percent")
        'AP on val, in percent; no boxes in the training split: CorLoc cannot be counted'
        """
        splits = {"corloc": train}
        shown = [f"{title} on {splits.get(name, test)}" for name, title in self.shown_measures().items()]
        return "; ".join(part for part in (", ".join([*shown, unit]), self.without_boxes_sentence()) if part)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


class TrainResults(BaseModel):
    """The outcome of a train job, stored with it and answered by GET /v1/jobs/{id}/results."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    classes: tuple[str, ...]
    trained: Judgement
    untrained: Judgement | None = None
    """the same network before its first step; null: not asked for"""
    chance: Judgement | None = None
    """random scores on the same proposals; null: not asked for"""

    def judgements(self) -> dict[str, Judgement]:
        """All that was judged by its field: `trained`, and the baselines that were asked for."""
        judged = {"trained": self.trained, "untrained": self.untrained, "chance": self.chance}
        return {name: judgement for name, judgement in judged.items() if judgement is not None}

    def shortcomings(self) -> tuple[str, ...]:
        """Sentences on where training did not beat a baseline; empty when it beat all that were judged."""
        told: list[str] = []
        boxes = {f"the {name.replace('_', ' ')}": box for name, box in self.trained.trivial.items()}
        baselines: dict[str, Judgement | TrivialBox | None] = {
            "the untrained network": self.untrained,
            "chance": self.chance,
            **boxes,
        }
        for name, baseline in baselines.items():
            if baseline is None:
                continue
            for measure, title in self.trained.shown_measures().items():
                ours, theirs = self.trained.mean_of(measure), getattr(baseline, f"mean_{measure}", None)
                if ours is not None and theirs is not None and ours <= theirs:
                    told.append(f"mean {title} {ours:.3f} does not beat {name} ({theirs:.3f})")
        return tuple(told)
