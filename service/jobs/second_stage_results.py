"""What a second stage found: the boxes it learnt from, and what the student is worth beside its teacher."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from service.jobs.results import Judgement, TrainResults


class PseudoLabelsFound(BaseModel):
    """The teacher's boxes on its training images; the boxes themselves are in the job's artifacts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model_sha256: str
    """of the teacher's file"""
    images: int = Field(ge=0)
    without_boxes: int = Field(ge=0)
    """of the images: those that show no class, or whose boxes score too little; the student does not see them"""
    boxes: dict[str, int]
    """class -> boxes"""


class SecondStageResults(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    kind: Literal["second_stage"] = "second_stage"
    model: str
    """the teacher"""
    classes: tuple[str, ...]
    pseudo_labels: PseudoLabelsFound
    teacher: Judgement | None = None
    """as its own training judged it; null: it has left no results that this version can read"""
    student: TrainResults | None = None
    """null: nothing was to be trained"""

    def judgements(self) -> dict[str, Judgement]:
        """All that was judged, the student as `trained`; empty where nothing was to be trained."""
        if self.student is None:
            return {}
        own = self.student.judgements()
        return {"trained": own.pop("trained")} | ({} if self.teacher is None else {"teacher": self.teacher}) | own

    def shortcomings(self) -> tuple[str, ...]:
        """Sentences on where the student did not beat a baseline, or its teacher."""
        if self.student is None:
            return ()
        told = list(self.student.shortcomings())
        if self.teacher is not None:
            for measure in ("mean_ap", "mean_corloc"):
                ours, theirs = getattr(self.student.trained, measure), getattr(self.teacher, measure)
                if ours is not None and theirs is not None and ours <= theirs:
                    name = measure.replace("_", " ").replace("ap", "AP").replace("corloc", "CorLoc")
                    told.append(f"{name} {ours:.3f} does not beat the teacher ({theirs:.3f})")
        return tuple(told)
