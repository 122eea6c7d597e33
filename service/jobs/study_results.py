"""What ablations, sweeps, evaluations and batch predictions found: stored with the job, answered by REST."""

import math
import statistics
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.jobs.results import Judgement
from service.jobs.states import FailureReason


class _Found(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class RunState(StrEnum):
    """How one training of a study ended."""

    SUCCEEDED = "succeeded"
    STOPPED_EARLY = "stopped_early"
    """its metric was among the worst of its rung, so its CPUs went to others"""
    FAILED = "failed"


class RunFailure(_Found):
    reason: FailureReason
    message: str
    """one sentence: the cause and the way out"""


class RunFound(_Found):
    """One training of a study."""

    name: str
    """its folder among the job's runs, and its run in MLflow"""
    variant: str
    """the row it belongs to; of a sweep, the trial"""
    seed: int
    overrides: dict[str, JsonValue]
    """on the study's experiment, without the seed"""
    state: RunState
    failure: RunFailure | None = None
    judgement: Judgement | None = None
    """null: it did not come to its end"""
    value: float | None = None
    """the sweep's metric at the run's end; of one that was stopped early, as last reported"""
    global_step: int = Field(default=0, ge=0)
    """optimizer steps at its end, over all stages"""
    train_seconds: float = Field(default=0.0, ge=0)
    """that its own process worked, over all attempts; shared stages are counted apart"""


class Spread(_Found):
    """A measure over seeds."""

    mean: float
    std: float | None
    """sample standard deviation; null with a single value"""
    count: int = Field(ge=1)

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Self | None:
        """Mean and deviation of the values that exist; None where none does.

        >>> Spread.of([0.5, None, 0.75]).mean
        0.625
        """
        known = [value for value in values if value is not None and math.isfinite(value)]
        if not known:
            return None
        return cls(
            mean=statistics.fmean(known), std=statistics.stdev(known) if len(known) > 1 else None, count=len(known)
        )


MEASURES = ("mean_ap", "mean_classification_ap", "mean_corloc", "mean_iou")


def _measured(judgement: Judgement, measure: str) -> float | None:
    """The measure as a row has it: image labels take part where they stand in for boxes."""
    if measure == "mean_classification_ap" and "test" not in judgement.without_boxes:
        return None
    value: float | None = getattr(judgement, measure)
    return value


class Row(_Found):
    """One variant over its seeds."""

    variant: str
    title: str
    overrides: dict[str, JsonValue]
    succeeded: int
    failed: int
    measures: dict[str, Spread | None]
    """mean_ap, mean_corloc, mean_iou, and mean_classification_ap where nobody drew the boxes that AP is counted by"""
    ap: dict[str, Spread | None]
    """by class"""
    corloc: dict[str, Spread | None]
    """by class"""
    error_modes: dict[str, Spread | None]
    """share of top boxes in each of the paper's five modes (figure 6), averaged over classes"""
    differences: dict[str, Spread | None]
    """each measure minus the base row's with the same seed; of the base row itself, and where no seed has both: null"""

    @classmethod
    def of(cls, variant: str, title: str, runs: Sequence[RunFound], base: Sequence[RunFound]) -> Self:
        """The row of the variant's runs; `base` are those of the base row, to be paired by seed."""
        judged = {run.seed: run.judgement for run in runs if run.judgement is not None}
        base_judged = {run.seed: run.judgement for run in base if run.judgement is not None}
        classes = list(next(iter(judged.values())).ap) if judged else []
        is_base = bool(base) and base[0].variant == variant
        modes = sorted({mode for j in judged.values() for mode in j.mean_error_modes or {}})

        def difference(measure: str) -> Spread | None:
            pairs = [
                (_measured(judged[seed], measure), _measured(base_judged[seed], measure))
                for seed in judged
                if seed in base_judged
            ]
            return Spread.of([None if a is None or b is None else a - b for a, b in pairs])

        return cls(
            variant=variant,
            title=title or variant,
            overrides=dict(runs[0].overrides) if runs else {},
            succeeded=len(judged),
            failed=sum(run.state is RunState.FAILED for run in runs),
            measures={m: Spread.of([_measured(j, m) for j in judged.values()]) for m in MEASURES},
            ap={c: Spread.of([j.ap.get(c) for j in judged.values()]) for c in classes},
            corloc={c: Spread.of([j.corloc.get(c) for j in judged.values()]) for c in classes},
            error_modes={
                mode: Spread.of([(j.mean_error_modes or {}).get(mode) for j in judged.values()]) for mode in modes
            },
            differences={m: None if is_base else difference(m) for m in MEASURES},
        )


class SharedStageFound(_Found):
    """A stage that several runs had in common and that was trained once."""

    stage: str
    used_by: tuple[str, ...]
    """names of the runs"""
    train_seconds: float


class StudyFound(_Found):
    runs: tuple[RunFound, ...]
    shared: tuple[SharedStageFound, ...] = ()
    wall_seconds: float = Field(default=0.0, ge=0)
    """that the study took, over all attempts, without the time between them"""


class AblationResults(StudyFound):
    """The table that an ablation is for, and every run behind it."""

    kind: Literal["ablation"] = "ablation"
    base_variant: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]

    def without_boxes_sentence(self) -> str:
        """What no run could count because nobody drew boxes; empty where they are known, or no run was judged."""
        judged = (run.judgement for run in self.runs if run.judgement is not None)
        return next((judgement.without_boxes_sentence() for judgement in judged), "")


class CurvePoint(_Found):
    value: JsonValue
    measure: Spread | None
    """of the sweep's metric over seeds; null: no run with this value came to its end"""


class SweepResults(StudyFound):
    """Every trial of a sweep, and the best one."""

    kind: Literal["sweep"] = "sweep"
    metric: str
    goal: Literal["min", "max"]
    best: str | None
    """the best run of the trial whose mean over seeds is the best, counting runs that came to their end; null: none
    did"""
    curves: dict[str, tuple[CurvePoint, ...]] = {}
    """of grid and one-at-a-time searches: field -> the metric at each of its values, averaged over the others"""

    def best_first(self) -> tuple[RunFound, ...]:
        """The runs in the order of a ranking: those that came to their end by their values, behind them those that were
        stopped early, whose values are of an earlier step and no rivals, and last those that failed.
        """
        sign = -1.0 if self.goal == "max" else 1.0
        ends = (RunState.SUCCEEDED, RunState.STOPPED_EARLY, RunState.FAILED)

        def place(run: RunFound) -> tuple[int, bool, float, str]:
            return ends.index(run.state), run.value is None, sign * (run.value or 0.0), run.name

        return tuple(sorted(self.runs, key=place))


class EvaluateResults(_Found):
    """A trained model judged on a data set."""

    kind: Literal["evaluate"] = "evaluate"
    model: str
    checkpoint: int | None = None
    """the step at which the judged checkpoint was written; null: the finished model was judged"""
    classes: tuple[str, ...]
    ap_split: str
    corloc_split: str
    judgement: Judgement


class PredictResults(_Found):
    """What a batch prediction left; the boxes themselves are in its artifacts."""

    kind: Literal["predict"] = "predict"
    model: str
    images: int
    """read and predicted"""
    broken: tuple[str, ...] = ()
    """files that are no images, below the folder, at most 100 of them"""
    boxes: int
    seconds_per_image: float | None
    """median, proposals included; null: there was no image"""
    seconds_per_image_p95: float | None


def ablation_rows(titles: Mapping[str, str], base_variant: str, runs: Sequence[RunFound]) -> tuple[Row, ...]:
    """The rows in the order of `titles` (variant -> title)."""
    of = {variant: [run for run in runs if run.variant == variant] for variant in titles}
    return tuple(Row.of(variant, title, of[variant], of[base_variant]) for variant, title in titles.items())
