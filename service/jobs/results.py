"""What a training is worth: AP and CorLoc per class, beside an untrained network and random scores."""

from pydantic import BaseModel, ConfigDict, Field


class Judgement(BaseModel):
    """AP on the test split and CorLoc on the train split of one set of scores."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    ap: dict[str, float | None]
    """class -> average precision in [0, 1]; null: the split has no object of the class"""
    mean_ap: float = Field(ge=0, le=1)
    corloc: dict[str, float | None]
    """class -> share of training images whose best box is right; null: no image has the class"""
    mean_corloc: float = Field(ge=0, le=1)
    num_test_images: int = Field(ge=0)
    num_train_images: int = Field(ge=0)
    seconds_per_image: float | None = Field(ge=0)
    """to score one test image; null: nothing was computed, as for chance"""


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
                if ours <= theirs:
                    told.append(f"{measure} {ours:.3f} does not beat {name} ({theirs:.3f})")
        return tuple(told)
